"""Predictors: from a history of computed features to the feature of another step."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from math import isfinite
from typing import Any, Literal, NamedTuple, final

import numpy as np
from torch import Tensor, nn
from typing_extensions import Self

from forecastcache.errors import HistoryError
from forecastcache.history import History, combine_all
from forecastcache.options import Options
from forecastcache.schedule import Schedule
from forecastcache.step import Step

Forecaster = Callable[[History], Tensor]
Need = Literal["first_block", "grid", "latent", "logsnr", "sampling"]
SEEN: frozenset[Need] = frozenset({"first_block", "latent"})  # at every call, beside the features


class Sampling(NamedTuple):
    """How a pipeline samples, as seen at the first step that a model makes in a run.

    Attributes:
        guidance: scale at which it combines the branches of guidance; 1 for a single branch, None
            where it cannot be told.
        eta: noise that the scheduler was asked to draw, as a part of DDPM's.
        elements: number of elements of one sample of latents; None where it cannot be told.
        expert: number of the model among those that take turns in the pipeline, 0 for the first.
    """

    guidance: float | None
    eta: float
    elements: int | None = None
    expert: int = 0


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

    @property
    def needs(self) -> frozenset[Need]:
        """What it must be told beyond steps and features; `attach` refuses where that is unknown.

        `grid` is the layout of the image's tokens, `logsnr` the noise level of a step, `sampling`
        what `for_sampling` is to be told. `latent` and `first_block` are tensors that each call
        shows beside the features, in `History.seen`: the sample that the model is given, and what
        its first block adds to the image's tokens, for which the first block runs at every step.
        """
        return frozenset()

    @property
    def fitted(self) -> bool:
        """Whether it was fitted to data, and so need not keep a constant trajectory as it is."""
        return False

    @property
    def total(self) -> int | None:
        """Steps of the trajectories it was fitted on; None if it serves any."""
        return None

    def for_schedule(self, schedule: Schedule) -> Self:
        """This predictor with the options that it takes from the schedule filled in.

        The session forecasts with what this returns, which reads as many features; where no
        option is taken it is the predictor itself.

        Args:
            schedule: the schedule of the trajectories to forecast.
        """
        return self

    def check(self, total: int, computed: Sequence[int] | None) -> None:
        """Refuse a trajectory that this predictor does not fit, before its first step.

        Args:
            total: steps of the trajectory.
            computed: the steps that will be computed; None where the schedule decides as it runs.

        Raises:
            TrajectoryError: naming the difference and the remedy.
        """

    def for_pipeline(self, pipeline: Any, model: nn.Module) -> Predictor:
        """What forecasts a run: this predictor, or another; asked at the run's first call.

        Args:
            pipeline: pipeline that makes the run; None for a bare model.
            model: network that is called.

        Raises:
            ForecastCacheError: it serves no such pipeline.
        """
        return self

    def for_sampling(self, sampling: Sampling) -> Predictor:
        """What forecasts a run, asked before its first forecast.

        Only where `needs` holds `sampling`. Where another model takes over in the run, what this
        gave is asked again, before the first forecast after that model's first step.

        Raises:
            ForecastCacheError: it serves no such run.
        """
        return self

    @abstractmethod
    def forecast(self, history: History, target: Step) -> Tensor:
        """The feature of `target`.

        Args:
            history: `minimum` to `depth` features, which must not be written to.
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
        return lambda history: self.forecast(history.newest(self.depth), target)

    def _require(self, computed: Sequence[Step]) -> None:
        if len(computed) < self.minimum:
            raise HistoryError(
                f"{self} needs {self.minimum} computed features, but its history has "
                f"{len(computed)}: compute more steps before the first forecast"
            )


class RowForecaster:
    """The forecast of one step by a row over the history, at any site.

    Args:
        row: one weight a feature, oldest first.
    """

    def __init__(self, row: list[float]) -> None:
        self.row = row

    def __call__(self, history: History) -> Tensor:
        return history.combine(self.row)

    def at_all(self, histories: Sequence[History]) -> list[Tensor]:
        """The forecasts for several histories, in few launches where they are of one kind."""
        return combine_all(histories, self.row)


class LinearPredictor(Predictor):
    """A predictor whose forecast is a weighted sum of the history: a row over it."""

    @abstractmethod
    def weights(self, computed: Sequence[Step], target: Step) -> np.ndarray:
        """The row: one weight a computed step, oldest first, shape `(len(computed),)`.

        It is asked about `minimum` to `depth` steps.
        """

    def row(self, computed: Sequence[Step], target: Step) -> np.ndarray:
        """The row, checked, in float64; steps older than the newest `depth` weigh nothing.

        Raises:
            HistoryError: too few steps were computed, or `weights` returned a row that has
                not one finite weight a computed step.
        """
        self._require(computed)
        newest = computed[-self.depth :]
        given = self.weights(newest, target)
        try:
            row = np.asarray(given, dtype=np.float64)
        except (TypeError, ValueError):
            row = np.empty(())
        if row.shape != (len(newest),) or not all(map(isfinite, row.tolist())):
            shown = row.tolist() if row.ndim else given
            raise HistoryError(
                f"{self}.weights gave {shown!r} for {len(newest)} computed steps "
                f"{[s.index for s in newest]}: it must give one finite weight for each"
            )
        older = len(computed) - len(newest)
        return np.concatenate([np.zeros(older), row]) if older else row

    @final
    def prepare(self, computed: Sequence[Step], target: Step) -> RowForecaster:
        return RowForecaster(self.row(computed, target).tolist())

    @final
    def forecast(self, history: History, target: Step) -> Tensor:
        return self.prepare(history.steps, target)(history)


def depth_complaint(predictor: Predictor) -> str:
    """What is wrong with a predictor's depth and minimum, with the remedy; '' for nothing."""
    for name in ("depth", "minimum"):
        count = getattr(predictor, name)
        if type(count) is not int or count < 1:
            return f"{predictor} has a {name} of {count!r}: give a whole number of at least 1"
    if predictor.minimum > predictor.depth:
        return (
            f"{predictor} needs {predictor.minimum} features but keeps {predictor.depth}, so it "
            "would never forecast: give it a depth of at least its minimum"
        )
    return ""
