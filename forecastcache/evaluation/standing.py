"""Standing: who is ahead at equal cost, and what equal fidelity costs."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import Any, Literal

Row = dict[str, Any]
Cost = Literal["computed steps", "FLOPs", "seconds"]
# Of a whole call; seconds as parts of those of the plain run beside it, so that machines cancel.
COSTS: dict[Cost, Callable[[Row], float]] = {
    "computed steps": lambda row: float(row["computed"]),
    "FLOPs": lambda row: float(row["flops"]),
    "seconds": lambda row: float(row["seconds"] / row["seconds_plain"]),
}


def measured(rows: Iterable[Row], kind: str) -> list[Row]:
    """Rows of a kind that have a fidelity: that neither failed nor are the plain run."""
    return [row for row in rows if row["kind"] == kind and row.get("latent_psnr_db") is not None]


def best_within(rows: Sequence[Row], cost: Cost, limit: float) -> Row | None:
    """The row of highest latent PSNR that costs no more than `limit`; None if all cost more."""
    affordable = [row for row in rows if COSTS[cost](row) <= limit]
    return max(affordable, key=lambda row: row["latent_psnr_db"], default=None)


def cheapest_reaching(rows: Sequence[Row], cost: Cost, psnr_db: float) -> Row | None:
    """The row of lowest cost with at least this latent PSNR; None if none has it."""
    near = [row for row in rows if row["latent_psnr_db"] >= psnr_db]
    return min(near, key=COSTS[cost], default=None)


def lead(ours: Row, rivals: Sequence[Row], cost: Cost, slack: float = 0.0) -> float | None:
    """By how many dB one row is above every rival that costs no more than it does.

    Args:
        ours: the row.
        rivals: rows to hold it against.
        cost: that is compared.
        slack: part of the cost by which a rival may be above it, where costs are noisy.

    Returns:
        Decibels, negative if a rival is above; None if all of them cost more.
    """
    best = best_within(rivals, cost, COSTS[cost](ours) * (1 + slack))
    return None if best is None else float(ours["latent_psnr_db"] - best["latent_psnr_db"])


def times_fewer(ours: Sequence[Row], rival: Row, cost: Cost) -> float | None:
    """How many times less the cheapest of our rows costs that is as near as a rival's.

    None if none of ours is.
    """
    equal = cheapest_reaching(ours, cost, rival["latent_psnr_db"])
    return None if equal is None else COSTS[cost](rival) / COSTS[cost](equal)
