"""Comparison: which method is ahead at equal cost, and what equal fidelity costs."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import Literal

from forecastcache.evaluation.measurement import Measurement
from forecastcache.evaluation.method import Kind

Cost = Literal["computed steps", "FLOPs", "seconds"]
# Of a whole call; seconds as parts of those of the plain run beside it, so that machines cancel.
COSTS: dict[Cost, Callable[[Measurement], float]] = {
    "computed steps": lambda row: _figure(row.count),
    "FLOPs": lambda row: _figure(row.flops),
    "seconds": lambda row: _figure(row.seconds) / _figure(row.seconds_plain),
}


def with_fidelity(rows: Iterable[Measurement], kind: Kind) -> list[Measurement]:
    """Measurements of a kind that have a fidelity: that neither failed nor are the plain run."""
    return [row for row in rows if row.kind == kind and row.latent_psnr_db is not None]


def best_within(rows: Sequence[Measurement], cost: Cost, limit: float) -> Measurement | None:
    """The row of highest latent PSNR that costs no more than `limit`; None if all cost more."""
    affordable = [row for row in rows if COSTS[cost](row) <= limit]
    return max(affordable, key=_fidelity, default=None)


def cheapest_reaching(
    rows: Sequence[Measurement], cost: Cost, psnr_db: float
) -> Measurement | None:
    """The row of lowest cost with at least this latent PSNR; None if none has it."""
    near = [row for row in rows if _fidelity(row) >= psnr_db]
    return min(near, key=COSTS[cost], default=None)


def lead(
    ours: Measurement, baselines: Sequence[Measurement], cost: Cost, slack: float = 0.0
) -> float | None:
    """By how many dB one row is above every baseline that costs no more than it does.

    Args:
        ours: row that is compared.
        baselines: rows to hold it against.
        cost: cost at which they are compared.
        slack: part of the cost by which a baseline may be above it, where costs are noisy.

    Returns:
        Decibels, negative if a baseline is above; None if all of them cost more.
    """
    best = best_within(baselines, cost, COSTS[cost](ours) * (1 + slack))
    return None if best is None else _fidelity(ours) - _fidelity(best)


def times_fewer(ours: Sequence[Measurement], baseline: Measurement, cost: Cost) -> float | None:
    """How many times less the cheapest of our rows costs that is as near as a baseline's.

    None if none of ours is.
    """
    equal = cheapest_reaching(ours, cost, _fidelity(baseline))
    return None if equal is None else COSTS[cost](baseline) / COSTS[cost](equal)


def _fidelity(row: Measurement) -> float:
    return _figure(row.latent_psnr_db)


def _figure(value: float | None) -> float:
    """A figure that a measured row has."""
    assert value is not None
    return float(value)
