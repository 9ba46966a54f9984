"""On the way: rows that are solved as a run comes to them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from pydantic import SkipValidation

from forecastcache.predictor import LinearPredictor
from forecastcache.step import Step


class FittedOnTheWay(LinearPredictor):
    """The rows of a run, solved as it comes to them.

    Args:
        fitter: solver of the rows, of a `depth` of newest computed steps: its `row` is given the
            computed steps and the step to forecast.
    """

    fitter: SkipValidation[Any]

    @property
    def depth(self) -> int:
        return int(self.fitter.depth)

    @property
    def fitted(self) -> bool:
        return True

    def weights(self, computed: Sequence[Step], target: Step) -> np.ndarray:
        row: np.ndarray = self.fitter.row([step.index for step in computed], target.index)
        return row
