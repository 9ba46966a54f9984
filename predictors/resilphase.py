"""ResilPhase: the polynomial through the newest features, along a phase axis instead of steps."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated, Literal

import numpy as np
from pydantic import Field

from forecastcache.predictor import LinearPredictor
from forecastcache.predictors.newton import lagrange
from forecastcache.step import Step


class ResilPhase(LinearPredictor):
    """The polynomial of degree m through the newest m + 1 features, over phases s(c).

    F^(s) = sum_j F_j prod_{l != j} (s - s_l) / (s_j - s_l), with one of two phase axes:

        balanced    s(c) = tanh(alpha (c - mean) / d), with the mean of the newest m + 1 computed
                    steps and d the largest distance of one of them from it
        chebyshev   the newest m + 1 steps lie at Chebyshev's nodes cos((2 j + 1) pi / (2 m + 2)),
                    in their order, and the target where the line through the newest two puts it

    The tanh slows what lies far ahead, so that a forecast moves less than the features did. Until
    m + 1 features are computed the degree is what there are features for.

    Exact on constants alone: convergence order 1 in the balanced axis. As alpha goes to 0 it is
    Newton(m), and so is the Chebyshev axis of order 1 and, on even steps, 2, whose nodes are even.
    Noise gain at u = 5/6, balanced: 1.80, 3.67, 6.92 for m = 1..3, where Newton has 2.67, 5.72 and
    11.5. Use it on long gaps, where a straight line overshoots.

    Args:
        order: m, from 0 (reuse) to 4; holds m + 1 features a site.
        axis: `balanced` or `chebyshev`.
        alpha: how much the balanced axis bends.

    Reference: ResilPhase (2606.26769), its phase mappings as in its code, whose defaults on
    FLUX.1 these are. Which tensors its models keep is a matter of the site; at `hidden` and
    `block` the nearest.
    """

    order: Annotated[int, Field(ge=0, le=4)] = 1
    axis: Literal["balanced", "chebyshev"] = "balanced"
    alpha: Annotated[float, Field(gt=0, le=4)] = 0.55

    @property
    def depth(self) -> int:
        return self.order + 1

    def weights(self, computed: Sequence[Step], target: Step) -> np.ndarray:
        if len(computed) == 1:
            return np.ones(1)
        nodes = np.array([step.index for step in computed], dtype=np.float64)
        if self.axis == "balanced":
            mean = nodes.mean()
            scale = self.alpha / np.abs(nodes - mean).max()
            phases = np.tanh(scale * (nodes - mean))
            return lagrange(phases, float(np.tanh(scale * (target.index - mean))))
        count = len(nodes)
        phases = np.cos((2 * np.arange(count) + 1) * np.pi / (2 * count))
        slope = (phases[-1] - phases[-2]) / (nodes[-1] - nodes[-2])
        return lagrange(phases, phases[-1] + slope * (target.index - nodes[-1]))
