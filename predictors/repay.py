"""Repay: reuse that pays back, after a computed step, what it owes for the gap before."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated

import numpy as np
from pydantic import Field

from forecastcache.predictor import LinearPredictor
from forecastcache.step import Step


class Repay(LinearPredictor):
    """Reuse whose next forecasts carry, damped, what the reuse of the last gap has missed.

    A sampler adds outputs up, so what counts of a gap is the sum of its errors. Reuse of F_1 over
    a gap of g steps missed j/g (F_0 - F_1) at its j-th step, if features went straight to F_0.
    Once F_0 is computed the sum is known, D = (g - 1)/2 (F_0 - F_1), and the forecast k steps on
    pays a part of it:

        F^_k = F_0 + (1 - damping) damping^(k - 1) D

    n forecasts pay (1 - damping^n) D in all. After a gap of 1 nothing is owed.

    Exact on constants, convergence order 1; on straight lines and even gaps with damping 0 the sum
    of a gap's forecasts is exact, though none of them is. Noise gain at k = 1 is
    1 + (1 - damping)(g - 1). At `output` alone does the sampler add features up: use it there,
    with a first-order sampler, where a second feature may be held and a straight line overshoots.

    Args:
        damping: the part of the debt that one forecast leaves to the next; 0 pays all at once,
            and as it goes to 1 this is reuse.

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
