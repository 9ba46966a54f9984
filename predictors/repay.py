"""Repay: reuse that corrects, after a computed step, the error of the reused steps before it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated

import numpy as np
from pydantic import Field

from forecastcache.predictor import LinearPredictor
from forecastcache.step import Step


class Repay(LinearPredictor):
    """Reuse that adds the summed error of the last gap to the next forecasts, damped.

    A sampler sums outputs, so the sum of a gap's errors is what moves the sample. If the features
    moved linearly from F_1 to F_0 in a gap of g steps, reuse of F_1 missed j/g (F_0 - F_1) at step
    j. Once F_0 is computed, this sum is known, D = (g - 1)/2 (F_0 - F_1). The forecast k steps
    after F_0 adds a part of it:

        F^_k = F_0 + (1 - damping) damping^(k - 1) D

    n forecasts add (1 - damping^n) D in all. A gap of 1 has no error.

    Exact on constants, convergence order 1. On straight lines, with even gaps and damping 0, the
    sum of a gap's forecasts is exact, though no single forecast is. Noise gain at k = 1:
    1 + (1 - damping)(g - 1). Use it at `output`, the only site whose features the sampler sums,
    with a first-order sampler, where two features fit into memory and a straight line overshoots.

    Args:
        damping: share of the remaining error that a forecast leaves to the next one. 0 adds all
            at once; towards 1 this becomes reuse.

    Reference: this project's own; error feedback, as in the quantisation of 1-bit SGD (Seide et
    al., Interspeech 2014), applied to a sampler's steps.
    """

    damping: Annotated[float, Field(ge=0, lt=1)] = 0.3

    @property
    def depth(self) -> int:
        return 2

    def weights(self, computed: Sequence[Step], target: Step) -> np.ndarray:
        gap = computed[-1].index - computed[0].index
        k = target.index - computed[-1].index
        paid = (1 - self.damping) * self.damping ** (k - 1) * max(gap - 1, 0) / 2
        return np.array([-paid, 1 + paid])[-len(computed) :] if gap else np.ones(1)
