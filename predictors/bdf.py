"""BDF: features as the solution of an ODE, predicted and corrected, after FoCa."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated

import numpy as np
from pydantic import Field

from forecastcache.predictor import LinearPredictor
from forecastcache.predictors.differences import derivative_weights
from forecastcache.step import Step


class BDF(LinearPredictor):
    """A backward-differentiation step for the ODE F' = g of the features, with Heun's correction.

    At the newest two computed steps the slope g is that of the polynomial through the newest m + 1
    features there (BDF's own difference), and a straight line takes it on to the target: g^. Then

        predictor   the BDF formula of order m, solved for the target's feature, with slope g^;
                    for m = 2 and one even gap N ahead  F^ = 4/3 F_0 - 1/3 F_1 + 2/3 N g^
        corrector   Heun's trapezoid,  F^ = F_0 + k/2 (g_0 + g^)

    and as g is a difference of computed features, so is F^: a row over the newest m + 2. Until
    they are there, the order is what there are features for; with two it is the straight line.

    Exact on polynomials of degree m, corrected or not, also on uneven steps: convergence order
    m + 1. Corrected noise gain at u = 5/6: 4.06, 7.11 for m = 1, 2. BDF(1) corrected is Taylor(2);
    BDF(2) is exact on parabolas, where Taylor of any order is not, with less noise than Newton(3)
    over as many features. Were g a first difference of two features instead, predictor and
    corrector would both be the straight line through them, Taylor(1). Use order 2 on short
    intervals.

    Args:
        order: m, 1 or 2; holds m + 2 features a site.
        corrected: whether Heun's corrector follows the predictor.

    Reference: FoCa (2508.16211), its BDF2 predictor and Heun corrector, taken over the steps as
    they lie; Hairer and Wanner, Solving Ordinary Differential Equations II, section V.1.
    """

    order: Annotated[int, Field(ge=1, le=2)] = 2
    corrected: bool = True

    @property
    def depth(self) -> int:
        return self.order + 2

    def weights(self, computed: Sequence[Step], target: Step) -> np.ndarray:
        nodes = np.array([step.index for step in computed], dtype=np.float64)
        row: np.ndarray = np.eye(len(nodes))[-1]
        if len(nodes) == 1:
            return row
        goal, k = float(target.index), target.index - nodes[-1]
        order = min(self.order, max(1, len(nodes) - 2))
        slope = _slope(nodes, len(nodes), order)
        slope_ahead = slope
        if len(nodes) > 2:
            change = (slope - _slope(nodes, len(nodes) - 1, order)) / (nodes[-1] - nodes[-2])
            slope_ahead = slope + k * change
        if self.corrected:
            row += k / 2 * (slope + slope_ahead)
            return row
        *known, unknown = derivative_weights([*nodes[-order:], goal], goal)
        row = slope_ahead / unknown
        row[-order:] -= np.array(known) / unknown
        return row


def _slope(nodes: np.ndarray, end: int, order: int) -> np.ndarray:
    """The row of the slope at node `end - 1`, from it and the `order` nodes before it."""
    row: np.ndarray = np.zeros(len(nodes))
    row[end - order - 1 : end] = derivative_weights(nodes[end - order - 1 : end], nodes[end - 1])
    return row
