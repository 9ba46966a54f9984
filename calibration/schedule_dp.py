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

from forecastcache.calibration.gram import RIDGE, solve
from forecastcache.errors import CalibrationError

DEPTH = 3  # computed steps that the rows read


def sensitivities(keep: np.ndarray, move: np.ndarray) -> np.ndarray:
    """How far an error of one in each step's output carries to the final sample, `(T,)`.

    Args:
        keep: factors a_s of x_{s+1} = a_s x_s + b_s e_s, `(T,)`.
        move: factors b_s, `(T,)`.
    """
    after = np.append(np.cumprod(keep[::-1])[::-1][1:], 1.0)
    carried: np.ndarray = move * after
    return carried


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
    seen, later = np.array(known), np.arange(known[-1] + 1, len(gram))
    normal = gram[np.ix_(seen, seen)]
    rows, _ = solve(normal, gram[np.ix_(seen, later)], ridge)
    cross = rows.T @ gram[np.ix_(seen, later)]
    missed = gram[np.ix_(later, later)] - cross - cross.T + rows.T @ normal @ rows
    moved = weight[later, None] * missed * weight[later]
    gathered = moved.cumsum(0).cumsum(1).diagonal()
    return np.concatenate([[0.0], np.maximum(gathered, 0.0)])


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
    """The schedules of least cost of 1 to `most` computed steps.

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
        found.append(_path(ended, came_from))
        came_from.append(origin)
        best = longer
    return found


def _costs_from(gram: np.ndarray, weight: np.ndarray, newest: int) -> np.ndarray:
    """Costs of the gaps after `newest`, by p2, p1 and what is computed next."""
    costs = np.full((newest + 1, newest + 1, len(gram) - newest), np.inf)
    if newest == 0:
        costs[0, 0] = gap_costs(gram, weight, [0])
    for middle in range(newest):
        for oldest in range(-1, middle):
            if oldest < 0 < middle:
                continue  # step 0 is always computed
            known = [step for step in (oldest, middle, newest) if step >= 0]
            costs[oldest + 1, middle + 1] = gap_costs(gram, weight, known)
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
