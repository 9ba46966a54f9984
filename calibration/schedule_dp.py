"""Schedules by dynamic programming: the steps to compute, from the Gram matrix alone.

Skipping from computed p0, after p1 and p2, to the next computed n moves the sample by
sum_t r_t (e_t - sum_c w_{t,c} e_c), where r_t is how far an error at step t carries to the end.
The errors of one gap add coherently, so its cost is c^T G c with c_t = r_t within the gap and
c_{p_i} = -sum_t r_t w_{t,p_i}; gaps are taken as independent. It is for open-loop rows: it does
not know that later computed steps correct.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from forecastcache.calibration.gram import RIDGE
from forecastcache.errors import CalibrationError

DEPTH = 3  # computed steps that the rows read


def gap_costs(
    gram: np.ndarray, weight: np.ndarray, known: Sequence[int], ridge: float = RIDGE
) -> np.ndarray:
    """What it costs to forecast from the newest `known` step up to each later one, `(T - p0,)`.

    Entry i is the cost of computing step p0 + 1 + i next, the last that of computing none.

    Args:
        gram: Gram matrix of the plain trajectories, `(T, T)`.
        weight: sensitivity of each step, `(T,)`.
        known: computed steps that the rows read, rising, p0 the last of them.
        ridge: ridge as a part of the mean diagonal.
    """
    found: np.ndarray = _costs_of_gaps(gram, weight, np.array([known]), ridge)[0]
    return found


def _costs_of_gaps(
    gram: np.ndarray, weight: np.ndarray, known: np.ndarray, ridge: float = RIDGE
) -> np.ndarray:
    """`gap_costs` of many histories `(n, k)` that end with the same step, `(n, T - p0)`."""
    later = slice(known[0, -1] + 1, len(gram))
    normal = gram[known[:, :, None], known[:, None, :]]
    aims = gram[known][:, :, later]
    rows = _rows(normal, aims, ridge)
    # c^T G c as (moved - forecast)^2, summed over the gap before it is squared.
    w = weight[later]
    moved = (w[:, None] * gram[later, later] * w).cumsum(0).cumsum(1).diagonal()
    forecast, shared = (w * rows).cumsum(-1), (w * aims).cumsum(-1)
    gathered = moved - np.einsum("nkt,nkt->nt", forecast, 2 * shared - normal @ forecast)
    return np.concatenate([np.zeros((len(known), 1)), np.maximum(gathered, 0.0)], axis=1)


def _rows(normal: np.ndarray, aims: np.ndarray, ridge: float) -> np.ndarray:
    """`least_weights` of many matrices `(n, k, k)` at once."""
    mean = normal.trace(axis1=1, axis2=2) / normal.shape[1]
    if not (np.isfinite(normal).all() and np.isfinite(aims).all() and (mean > 0).all()):
        raise CalibrationError(
            "the features to fit are zero or not finite: record the calibration again"
        )
    found: np.ndarray = np.linalg.solve(
        normal + ridge * mean[:, None, None] * np.eye(normal.shape[1]), aims
    )
    return found


def schedule_cost(gram: np.ndarray, weight: np.ndarray, computed: Sequence[int]) -> float:
    """The sum of the costs of all gaps of a schedule."""
    ends = [*computed[1:], len(gram)]
    return sum(
        float(gap_costs(gram, weight, computed[max(0, i + 1 - DEPTH) : i + 1])[until - newest - 1])
        for i, (newest, until) in enumerate(zip(computed, ends))
    )


def cheapest_steps(gram: np.ndarray, weight: np.ndarray, count: int) -> tuple[int, ...]:
    """The `count` computed steps of least cost.

    Args:
        gram: Gram matrix of the plain trajectories, `(T, T)`.
        weight: sensitivity of each step, `(T,)`.
        count: number of steps to compute.

    Raises:
        CalibrationError: fewer steps than 1, or more than there are.
    """
    require_count(count, len(gram))
    return cheapest_by_count(gram, weight, count)[count - 1]


def cheapest_by_count(gram: np.ndarray, weight: np.ndarray, most: int) -> list[tuple[int, ...]]:
    """The schedules of least cost of 1 to `most` computed steps."""
    return [computed for computed, _ in cheapest_with_costs(gram, weight, most)]


def cheapest_with_costs(
    gram: np.ndarray, weight: np.ndarray, most: int
) -> list[tuple[tuple[int, ...], float]]:
    """The schedules of least cost of 1 to `most` computed steps, each with its cost.

    A state is the newest three computed steps (p2, p1, p0), each counted from 1, 0 for none.
    """
    total = len(gram)
    costs = [_costs_from(gram, weight, newest) for newest in range(total)]
    best = np.full((total + 1,) * 3, np.inf)
    best[0, 0, 1] = 0.0
    came_from: list[np.ndarray] = []
    found = []
    for _ in range(most):
        ended = np.full_like(best, np.inf)
        longer = np.full_like(best, np.inf)
        origin = np.zeros(best.shape, dtype=np.int64)
        for newest, cost in enumerate(costs):
            spent = best[: newest + 1, : newest + 1, newest + 1, None] + cost
            ended[: newest + 1, : newest + 1, newest + 1] = spent[..., -1]
            oldest = spent[..., :-1].argmin(0)
            longer[: newest + 1, newest + 1, newest + 2 :] = spent[..., :-1].min(0)
            origin[: newest + 1, newest + 1, newest + 2 :] = oldest
        found.append((_path(ended, came_from), float(ended.min())))
        came_from.append(origin)
        best = longer
    return found


def _costs_from(gram: np.ndarray, weight: np.ndarray, newest: int) -> np.ndarray:
    """Costs of the gaps after `newest`, by p2, p1 and what is computed next."""
    costs = np.full((newest + 1, newest + 1, len(gram) - newest), np.inf)
    if newest == 0:
        costs[0, 0] = gap_costs(gram, weight, [0])
    else:  # step 0 is always computed: a history of two is (0, newest)
        costs[0, 1] = gap_costs(gram, weight, [0, newest])
    oldest, middle = np.triu_indices(newest, 1)
    if len(oldest):
        known = np.stack([oldest, middle, np.full_like(oldest, newest)], axis=1)
        costs[oldest + 1, middle + 1] = _costs_of_gaps(gram, weight, known)
    return costs


def _path(ended: np.ndarray, came_from: list[np.ndarray]) -> tuple[int, ...]:
    """The computed steps of the cheapest end, found back through where each state came from."""
    state = tuple(map(int, np.unravel_index(ended.argmin(), ended.shape)))
    path = [state[2]]
    for origin in reversed(came_from):
        state = (int(origin[state]), state[0], state[1])
        path.append(state[2])
    return tuple(step - 1 for step in reversed(path))


def require_count(count: int, total: int) -> None:
    """Refuse a number of computed steps that a trajectory of `total` cannot have."""
    if not 1 <= count <= total:
        raise CalibrationError(
            f"{count} steps of {total} cannot be computed: write a number from 1 to {total}"
        )
