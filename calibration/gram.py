"""Gram: inner products of a trajectory's features, all that an open-loop fit needs to know.

G_ij = E <e_i, e_j> over trajectories. It adds up over prompts, batches and machines, and it serves
every schedule: a row for step s over computed steps C solves (G_CC + ridge) w = G_Cs.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from scipy.linalg.lapack import dposv
from torch import Tensor

from forecastcache.errors import CalibrationError
from forecastcache.predictors.row import Row

RIDGE = 1e-6  # times the mean diagonal
BLOCK = 1 << 16  # numbers of each feature that are made exact at once


class GramSum:
    """Gathers the Gram matrix of one branch, step by step and trajectory by trajectory.

    Args:
        steps: number of steps of a trajectory, T.

    Attributes:
        matrix: sum so far, `(T, T)`, float64.
    """

    def __init__(self, steps: int) -> None:
        self.matrix = np.zeros((steps, steps))
        self._features: list[Tensor] = []

    def observe(self, feature: Tensor) -> None:
        """Add the next step's feature of the trajectories under way, any shape.

        Raises:
            CalibrationError: it is not finite, or one trajectory more than T steps long.
        """
        step = len(self._features)
        if step >= len(self.matrix):
            raise CalibrationError(
                f"a trajectory of {len(self.matrix)} steps has gone on to step {step}: close it"
            )
        if not feature.isfinite().all():
            raise CalibrationError(
                f"the model computed NaN or infinity at step {step}: calibrate in a wider dtype"
            )
        self._features.append(feature.detach().to(torch.float32).flatten())

    def close(self) -> None:
        """End the trajectories under way.

        Raises:
            CalibrationError: before their last step.
        """
        if len(self._features) != len(self.matrix):
            raise CalibrationError(
                f"a trajectory ended after {len(self._features)} of {len(self.matrix)} steps"
            )
        for block in zip(*(feature.split(BLOCK) for feature in self._features)):
            exact = torch.stack(block).double()
            self.matrix += (exact @ exact.T).cpu().numpy()
        self._features = []


def solve(normal: np.ndarray, aim: np.ndarray, ridge: float = RIDGE) -> tuple[np.ndarray, float]:
    """Weights w of least w^T N w - 2 w^T a + ridge |w|^2, and the condition of what was solved.

    Args:
        normal: matrix N, `(k, k)`, symmetric, positive semidefinite.
        aim: vector a, `(k,)`.
        ridge: ridge as a part of the mean of N's diagonal.

    Raises:
        CalibrationError: N holds nothing, or its numbers are not finite.
    """
    weights = least_weights(normal, aim, ridge)
    return weights, float(np.linalg.cond(_regular(normal, ridge)))


def least_weights(normal: np.ndarray, aim: np.ndarray, ridge: float = RIDGE) -> np.ndarray:
    """The weights of `solve`, in a tenth of its time: for loops over many small systems.

    Args:
        normal: matrix N, `(k, k)`, symmetric, positive semidefinite.
        aim: vectors a, `(k,)` or `(k, columns)`.
        ridge: ridge as a part of the mean of N's diagonal.

    Raises:
        CalibrationError: N holds nothing, or its numbers are not finite.
    """
    mean = float(normal.diagonal().sum()) / len(normal)
    if not (np.isfinite(normal).all() and np.isfinite(aim).all() and mean > 0):
        raise CalibrationError(
            "the features to fit are zero or not finite: record the calibration again"
        )
    # The checks of scipy.linalg.solve cost more than the work on a matrix of so few rows.
    _, weights, failed = dposv(_regular(normal, ridge), aim)
    if failed:
        raise CalibrationError(
            f"the features are linearly dependent up to rounding: raise the ridge from {ridge:g}"
        )
    found: np.ndarray = weights
    return found


def _regular(normal: np.ndarray, ridge: float) -> np.ndarray:
    regular = normal.copy()
    regular.flat[:: len(normal) + 1] += ridge * normal.diagonal().mean()
    return regular


def open_loop_rows(
    gram: np.ndarray, computed: Sequence[int], depth: int | None = None, ridge: float = RIDGE
) -> tuple[Row, ...]:
    """The row of every forecast step, fitted on trajectories of the plain sampler (L2P).

    Args:
        gram: Gram matrix of the plain trajectories' features, `(T, T)`.
        computed: computed steps, rising from 0.
        depth: number of newest computed steps that a row reads; None for all.
        ridge: ridge as a part of the mean diagonal.

    Reference: L2P (2604.26365); solved in closed form instead of by gradient descent.
    """
    newest = slice(-(depth or len(gram)), None)
    return tuple(
        open_loop_row(gram, [c for c in computed if c < step][newest], step, ridge)
        for step in sorted(set(range(len(gram))) - set(computed))
    )


def open_loop_row(
    gram: np.ndarray, computed: Sequence[int], step: int, ridge: float = RIDGE
) -> Row:
    """The row of one step over these computed ones; see `open_loop_rows`."""
    seen = list(computed)
    weights, _ = solve(gram[np.ix_(seen, seen)], gram[seen, step], ridge)
    return Row(target=step, computed=tuple(seen), weights=tuple(weights.tolist()))


def residual(gram: np.ndarray, row: Row) -> float:
    """E |e_s - sum_c w_c e_c|^2 of a row, by the Gram matrix."""
    seen, weights = list(row.computed), np.array(row.weights)
    value = (
        gram[row.target, row.target]
        - 2 * weights @ gram[seen, row.target]
        + weights @ gram[np.ix_(seen, seen)] @ weights
    )
    return float(max(value, 0.0))


def by_gradient_descent(
    gram: np.ndarray,
    computed: Sequence[int],
    epochs: int = 200,
    rate: float = 0.01,
) -> tuple[Row, ...]:
    """The rows as the paper fits them: gradient descent from Taylor's start, reuse.

    The Gram matrix is scaled to a mean diagonal of 1, for a learning rate to mean anything. Kept
    to compare with; `open_loop_rows` reaches a loss no higher, at once.

    Reference: L2P (2604.26365), 200 epochs at a learning rate of 0.01.
    """
    scaled = gram * len(gram) / np.trace(gram)
    rows = []
    for step in sorted(set(range(len(gram))) - set(computed)):
        seen = [c for c in computed if c < step]
        normal, aim = scaled[np.ix_(seen, seen)], scaled[seen, step]
        weights = np.eye(len(seen))[-1]
        for _ in range(epochs):
            weights = weights - rate * 2 * (normal @ weights - aim)
        rows.append(Row(target=step, computed=tuple(seen), weights=tuple(weights.tolist())))
    return tuple(rows)
