"""Series: backward differences of computed features, each times a polynomial of the offset."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Sequence
from math import factorial

import numpy as np

from forecastcache.predictor import LinearPredictor
from forecastcache.predictors.differences import backward_differences
from forecastcache.step import Step


class Series(LinearPredictor):
    """F^_s = sum_{i<=m} d_i p_i(k) / i!, with d_i TaylorSeer's differences and k the offset.

    Until m + 1 features are computed the series stops at the differences there are.
    """

    order: int

    @abstractmethod
    def basis(self, i: int, k: float) -> float:
        """p_i(k), the polynomial of degree i at k steps past the newest computed one."""

    @property
    def depth(self) -> int:
        return self.order + 1

    def weights(self, computed: Sequence[Step], target: Step) -> np.ndarray:
        steps = tuple(step.index for step in computed)
        k = target.index - steps[-1]
        differences = backward_differences(steps, self.order)
        coefficients = [self.basis(i, k) / factorial(i) for i in range(len(differences))]
        return np.asarray(coefficients @ differences)
