"""Predictors: from a history of computed features to the feature of another step."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from typing import final

import numpy as np
from torch import Tensor

from forecastcache.errors import HistoryError
from forecastcache.history import History
from forecastcache.options import Options
from forecastcache.step import Step

Forecaster = Callable[[History], Tensor]


class Predictor(Options, ABC):
    """Forecasts a feature from computed ones. The object is its configuration.

    It holds no run state and counts no steps, so one predictor serves every site, branch and
    thread at once. A predictor whose forecast is a weighted sum derives from `LinearPredictor`;
    any other implements `depth` and `forecast`.
    """

    @property
    @abstractmethod
    def depth(self) -> int:
        """Computed features it reads, at most."""

    @property
    def minimum(self) -> int:
        """Computed features it needs, at least; the session computes until they are there."""
        return 1

    @abstractmethod
    def forecast(self, history: History, target: Step) -> Tensor:
        """The feature of `target`.

        Args:
            history: of `minimum` to `depth` features, which are not to be written to.
            target: a step after the newest in the history.

        Returns:
            Tensor of the features' shape, dtype and device.
        """

    def prepare(self, computed: Sequence[Step], target: Step) -> Forecaster:
        """The forecast of `target` for any history over the steps `computed`.

        The session asks once a step and applies the answer at every site.

        Raises:
            HistoryError: fewer than `minimum` features were computed.
        """
        self._require(computed)
        return lambda history: self.forecast(history, target)

    def _require(self, computed: Sequence[Step]) -> None:
        if len(computed) < self.minimum:
            raise HistoryError(
                f"{self} needs {self.minimum} computed features, but its history has "
                f"{len(computed)}: compute more steps before the first forecast"
            )


class LinearPredictor(Predictor):
    """A predictor whose forecast is a weighted sum of the history: a row over it."""

    @abstractmethod
    def weights(self, computed: Sequence[Step], target: Step) -> np.ndarray:
        """The row: one weight a computed step, oldest first, shape `(len(computed),)`."""

    def row(self, computed: Sequence[Step], target: Step) -> np.ndarray:
        """The row, checked, in float64.

        Raises:
            HistoryError: too few steps were computed, or `weights` returned a row that has
                not one finite weight a computed step.
        """
        self._require(computed)
        row = np.asarray(self.weights(computed, target), dtype=np.float64)
        if row.shape != (len(computed),) or not np.isfinite(row).all():
            raise HistoryError(
                f"{self}.weights gave {row.tolist()} for {len(computed)} computed steps "
                f"{[s.index for s in computed]}: it must give one finite weight for each"
            )
        return row

    @final
    def prepare(self, computed: Sequence[Step], target: Step) -> Forecaster:
        row = self.row(computed, target)
        return lambda history: history.combine(row)

    @final
    def forecast(self, history: History, target: Step) -> Tensor:
        return self.prepare(history.steps, target)(history)
