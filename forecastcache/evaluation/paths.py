"""Paths: schedules as the cheapest paths from step to step, at a cost for each gap."""

from __future__ import annotations

import numpy as np


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
