"""Paths: schedules as the cheapest paths from step to step, at a cost for each gap.

What others plan by, from a calibration alone; `schedule_dp.py` has what our open-loop rows need.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import NamedTuple

import numpy as np

from forecastcache.calibration.schedule_dp import require_count
from forecastcache.errors import CalibrationError, OptionError

POWER = 4  # of MeanCache's edges


class Planner(NamedTuple):
    """What chooses steps by a published rule.

    Attributes:
        costs: costs of the gap from j to k after i, `(T, T, T + 1)`, of a Gram matrix `(T, T)` of
            the outputs and of how far each moves the samples, `(T,)`.
        first: number of leading steps that are all computed.
    """

    costs: Callable[[np.ndarray, np.ndarray], np.ndarray]
    first: int


def planned_by(name: str, gram: np.ndarray, weight: np.ndarray, count: int) -> tuple[int, ...]:
    """The `count` computed steps that a published rule chooses.

    Args:
        name: one of `PLANNERS`.
        gram: Gram matrix of the plain outputs, `(T, T)`.
        weight: how far one unit of each output moves the final sample, `(T,)`.
        count: number of computed steps.

    Raises:
        OptionError: no rule has this name.
        CalibrationError: so many steps cannot be computed, or are fewer than the rule's.
    """
    planner = PLANNERS.get(name)
    if planner is None:
        raise OptionError(f"{name!r} plans nothing here: write one of {', '.join(PLANNERS)}")
    require_count(count, len(gram))
    if count <= planner.first:
        raise CalibrationError(
            f"{name} computes its first {planner.first} steps and the last: ask for "
            f"{planner.first + 1} computed steps or more"
        )
    return cheapest_path(planner.costs(gram, weight), count, planner.first)


def velocity_costs(gram: np.ndarray, weight: np.ndarray) -> np.ndarray:
    """What reuse of output j misses of the mean output up to step k, to the fourth power.

    The mean is weighted by how far each output moves the samples: for flow matching it is the
    average velocity (x_k - x_j) / (sigma_k - sigma_j). RMS, where the original has mean absolutes.

    Args:
        gram: Gram matrix of the outputs, `(T, T)`.
        weight: how far one unit of each output moves the final sample, `(T,)`.

    Returns:
        Array `(T, T, T + 1)` by i, j and k, the same for all i; infinite where they do not rise.

    Reference: MeanCache (2601.19961), its graph, whose edges are raised to a power so that none
    is a peak.
    """
    steps = len(gram)
    misses = np.full((steps, steps + 1), np.inf)
    for j in range(steps):
        w = weight[j:] * np.triu(np.ones((steps - j, steps - j))).T
        w = w / w.sum(1, keepdims=True)
        own = gram[j:, j:]
        squares = own[0, 0] - 2 * w @ own[0] + np.einsum("kt,tu,ku->k", w, own, w)
        misses[j, j + 1 :] = np.maximum(squares, 0)
    costs = misses ** (POWER / 2)
    rising = np.tri(steps, steps, -1).T[:, :, None] > 0
    found: np.ndarray = np.where(rising, costs[None], np.inf)
    return found


def line_costs(gram: np.ndarray) -> np.ndarray:
    """What the straight line from steps i and j misses up to the next computed step k.

    The sum over the steps between j and k of |e_t - ((1 + u) e_j - u e_i)|, u = (t - j) / (j - i).

    Args:
        gram: Gram matrix of the features, `(T, T)`.

    Returns:
        Array `(T, T, T + 1)` by i, j and k; infinite where they do not rise.

    Reference: DPCache (2602.22654), its path-aware cost tensor, for a forecast from two steps.
    """
    steps = len(gram)
    costs = np.full((steps, steps, steps + 1), np.inf)
    for i in range(steps):
        for j in range(i + 1, steps):
            t = np.arange(j + 1, steps)
            u = (t - j) / (j - i)
            squares = (
                gram[t, t]
                - 2 * ((1 + u) * gram[j, t] - u * gram[i, t])
                + (1 + u) ** 2 * gram[j, j]
                + u**2 * gram[i, i]
                - 2 * u * (1 + u) * gram[i, j]
            )
            missed = np.sqrt(np.maximum(squares, 0))
            costs[i, j, j + 1 :] = np.concatenate([[0], missed.cumsum()])
    return costs


def cheapest_path(costs: np.ndarray, count: int, first: int) -> tuple[int, ...]:
    """The computed steps of least cost, by dynamic programming over the newest two.

    Args:
        costs: cost of the gap from j to k after i, `(T, T, T + 1)`.
        count: number of computed steps.
        first: leading steps that are all computed, two at least; so is the last step.
    """
    steps = len(costs)
    best = np.full((steps, steps), np.inf)
    best[first - 2, first - 1] = 0
    came_from = []
    for _ in range(count - first):
        ways = best[:, :, None] + costs[:, :, :steps]
        came_from.append(ways.argmin(0))
        best = ways.min(0)
    path = [steps - 1, int(best[:, steps - 1].argmin())]
    for before in reversed(came_from):
        path.append(int(before[path[-1], path[-2]]))
    return tuple(sorted({*path, *range(first)}))


def path_cost(costs: np.ndarray, path: tuple[int, ...]) -> float:
    """The sum of a path's gaps, from its third step on, at costs as `cheapest_path` has them."""
    return float(sum(costs[i, j, k] for i, j, k in zip(path, path[1:], path[2:])))


PLANNERS: Mapping[str, Planner] = MappingProxyType(
    {
        "dpcache": Planner(lambda gram, _: line_costs(gram), first=3),
        "meancache": Planner(velocity_costs, first=5),
    }
)
