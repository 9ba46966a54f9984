"""Newton: the polynomial through the newest computed features, extrapolated."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated

import numpy as np
from pydantic import Field

from forecastcache.predictor import LinearPredictor, Need
from forecastcache.predictors.coordinates import Coordinate, nodes_of
from forecastcache.step import Step


class Newton(LinearPredictor):
    """The polynomial of degree m through the newest m + 1 features, on their actual nodes.

    F^(x) = sum_j F_j prod_{l != j} (x - x_l) / (x_j - x_l), with x the coordinate of a step.
    With one node at infinity (sigma = 1 in log-SNR) the limit is taken: it weighs nothing, and the
    polynomial is that of the others. On even steps of spacing N and u = k/N the rows are

        m = 1:  1 + u,              -u
        m = 2:  (u + 1)(u + 2) / 2,  -u (u + 2),  u (u + 1) / 2        (newest first)

    Until m + 1 features are computed the degree is what there are features for.

    Exact on polynomials of degree m in the coordinate, also on uneven nodes; convergence order
    m + 1. Noise gain at u = 5/6: 2.67, 5.72, 11.5, 22.6 for m = 1..4, more than Taylor's:
    exactness is bought with noise. Equal to Taylor at m = 1. Use order 2 on short intervals, and
    where the computed steps lie unevenly.

    Args:
        order: m, from 0 (reuse) to 8; holds m + 1 features a site.
        coordinate: `step`, `time` or `logsnr`.

    Reference: Hairer, Norsett and Wanner, Solving Ordinary Differential Equations I, section III.1
    (Newton's interpolation); as a feature cache, TaylorSeer (2503.06923) with exact differences.
    """

    order: Annotated[int, Field(ge=0, le=8)] = 2
    coordinate: Coordinate = "step"

    @property
    def depth(self) -> int:
        return self.order + 1

    @property
    def needs(self) -> frozenset[Need]:
        return frozenset({"logsnr"} if self.coordinate == "logsnr" else ())

    def weights(self, computed: Sequence[Step], target: Step) -> np.ndarray:
        *nodes, x = nodes_of([*computed, target], self.coordinate)
        finite = np.isfinite(nodes)
        if not finite.any():
            return np.ones(1)  # the run's first step is all there is
        row = np.zeros(len(nodes))
        row[finite] = lagrange(np.array(nodes)[finite], x)
        return row


def lagrange(nodes: np.ndarray, x: float) -> np.ndarray:
    """The weights of the nodes' values in their polynomial's value at `x`."""
    row = np.ones(len(nodes))
    for j, node in enumerate(nodes):
        others = np.delete(nodes, j)
        row[j] = np.prod((x - others) / (node - others))
    return row
