"""Blend: an affine combination of two linear predictors."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Annotated

import numpy as np
from pydantic import Field

from forecastcache.predictor import LinearPredictor, Predictor
from forecastcache.predictors.composite import Composite
from forecastcache.spec import AnyLinearPredictor
from forecastcache.step import Step


class Blend(Composite, LinearPredictor):
    """(1 - weight) of what `a` forecasts and `weight` of what `b` does.

    Its row is (1 - weight) w_a + weight w_b over the longer history of the two.

    Exact where both are, and on what their errors cancel; order at least the smaller of the two.
    Noise gain at most (1 - weight) of a's and weight of b's for a weight from 0 to 1. Use it to
    shrink one that overshoots towards a calmer one, as Reuse is; a weight outside [0, 1]
    extrapolates.

    Args:
        a: linear predictor, or a spec such as `reuse`.
        b: likewise.
        weight: the part of `b`.

    Reference: the combination of forecasts, Bates and Granger (Oper. Res. Quarterly 20, 1969).
    """

    a: AnyLinearPredictor
    b: AnyLinearPredictor
    weight: Annotated[float, Field(allow_inf_nan=False)] = 0.5

    if TYPE_CHECKING:  # the constructor takes specs too

        def __init__(
            self, a: LinearPredictor | str, b: LinearPredictor | str, weight: float = ...
        ) -> None: ...

    @property
    def parts(self) -> tuple[Predictor, ...]:
        return self.a, self.b

    def weights(self, computed: Sequence[Step], target: Step) -> np.ndarray:
        a, b = self.a.row(computed, target), self.b.row(computed, target)
        return (1 - self.weight) * a + self.weight * b
