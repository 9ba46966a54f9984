"""What schedules and predictors answer, held to their contracts where that costs nothing.

A mistake in one of them would otherwise show as another picture, or as an error of torch somewhere
in the model. Rows need no check here: `LinearPredictor` makes their forecasts.
"""

from __future__ import annotations

import threading
from collections.abc import Sequence

from torch import Tensor

from forecastcache.errors import HistoryError, ScheduleError
from forecastcache.history import History
from forecastcache.predictor import Forecaster, Predictor, RowForecaster
from forecastcache.schedule import Schedule, State
from forecastcache.step import Step

_at_work = threading.local()  # its `predictor` is the one that is forecasting in this thread


def ask(schedule: Schedule, step: Step, state: State) -> bool:
    """Whether the schedule wants `step` computed.

    Raises:
        ScheduleError: the answer is no bool, or the schedule wrote to a tensor of the state.
    """
    before = _versions(state)
    wanted = schedule.compute(step, state)
    if not isinstance(wanted, bool):
        raise ScheduleError(f"{schedule}.compute gave {wanted!r}: it must give True or False")
    if _versions(state) != before:
        raise ScheduleError(
            f"{schedule}.compute wrote to a tensor of its state, which is the model's own: copy "
            "what is to be changed, as state.sample.clone()"
        )
    return wanted


def prepare(predictor: Predictor, computed: Sequence[Step], target: Step) -> Forecaster:
    """The predictor's forecast of `target`, checked at every history.

    Raises:
        HistoryError: the predictor prepared nothing that can be called, or refuses these steps.
    """
    forecaster = predictor.prepare(computed, target)
    if isinstance(forecaster, RowForecaster):
        return forecaster
    if not callable(forecaster):
        raise HistoryError(
            f"{predictor}.prepare gave {forecaster!r}: it must give a function of a history"
        )
    return _Checked(predictor, forecaster)


def require_no_forecast_at_work() -> None:
    """Refuse a call of the model that a predictor makes.

    Raises:
        HistoryError: a predictor is forecasting in this thread.
    """
    predictor = getattr(_at_work, "predictor", None)
    if predictor is not None:
        raise HistoryError(
            f"{predictor} called the model while it forecast: a forecast is made from the history "
            "alone; what has to look into the model is a schedule"
        )


class _Checked:
    """A forecast that must be the history's kind of tensor and leave the history as it was."""

    def __init__(self, predictor: Predictor, forecaster: Forecaster) -> None:
        self.predictor = predictor
        self.forecaster = forecaster

    def __call__(self, history: History) -> Tensor:
        before = history.version
        _at_work.predictor = self.predictor
        try:
            forecast = self.forecaster(history)
        finally:
            _at_work.predictor = None
        if history.version != before:
            raise HistoryError(
                f"{self.predictor} wrote to its history: copy what is to be changed, as "
                "history.features[-1].clone()"
            )
        return history.accept(forecast, self.predictor)


def _versions(state: State) -> list[int]:
    """How often each tensor of the state was written to; inference tensors do not count it."""
    tensors = (state.sample, state.computed_output, state.forecast_output)
    return [it._version for it in tensors if it is not None and not it.is_inference()]
