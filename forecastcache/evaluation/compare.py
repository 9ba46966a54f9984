"""Comparison: which method is ahead at equal cost, and what equal fidelity costs."""

from __future__ import annotations

import math
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
    ours: Sequence[Measurement],
    baselines: Sequence[Measurement],
    cost: Cost,
    budget: float,
    slack: float = 0.0,
) -> float | None:
    """By how many dB our best row within a budget is above the best baseline within it.

    Args:
        ours: rows of ours.
        baselines: rows to hold them against.
        cost: cost that the budget is of.
        budget: most that a row of either may cost, in the unit of `COSTS[cost]`.
        slack: part of the budget by which any row may exceed it, where costs are noisy.

    Returns:
        Decibels, negative if a baseline is above, minus infinity if the budget has room for a
        baseline and for none of ours; None if it has room for no baseline.
    """
    limit = budget * (1 + slack)
    best, its = best_within(ours, cost, limit), best_within(baselines, cost, limit)
    if its is None:
        return None
    return -math.inf if best is None else _fidelity(best) - _fidelity(its)


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
