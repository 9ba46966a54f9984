"""Reuse: the newest computed feature, unchanged."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from forecastcache.predictor import LinearPredictor
from forecastcache.step import Step


class Reuse(LinearPredictor):
    """The newest computed feature stands for every step until the next is computed.

    F^_s = F_0, with F_0 the newest computed feature.

    Order 0: exact on constants, convergence order 1. Noise gain 1. Holds one feature a site.
    Use it as the floor that every other predictor must clear.

    Reference: FORA (2407.01425), section 3.
    """

    @property
    def depth(self) -> int:
        return 1

    def weights(self, computed: Sequence[Step], target: Step) -> np.ndarray:
        row = np.zeros(len(computed))
        row[-1] = 1
        return row
