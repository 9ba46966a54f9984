"""AtWork: the predictor of the run under way, which may be another than was attached."""

from __future__ import annotations

from typing import Any

from torch import nn

from forecastcache.engine.sampling_watch import SamplingWatch
from forecastcache.predictor import Predictor
from forecastcache.schedule import Schedule


class AtWork:
    """Asks a predictor, in every run, what is to forecast it.

    Args:
        attached: predictor as it was attached.
        schedule: schedule of the runs.

    Attributes:
        predictor: predictor that forecasts the run under way.
    """

    def __init__(self, attached: Predictor, schedule: Schedule) -> None:
        self.predictor = attached
        self._attached = attached
        self._schedule = schedule
        self._watch: SamplingWatch | None = None

    def open(self, pipeline: object | None, model: nn.Module) -> None:
        """Begin a run, at its first call.

        Raises:
            ForecastCacheError: the predictor serves no such pipeline.
        """
        self.close()
        self._take(self._attached.for_pipeline(pipeline, model))
        scheduler: Any = getattr(pipeline, "scheduler", None)
        if "sampling" in self.predictor.needs and scheduler is not None:
            self._watch = SamplingWatch(scheduler)

    def see(self, output: Any) -> None:
        """Take note of what the model returned at the first step."""
        if self._watch is not None:
            self._watch.see(output)

    def settle(self) -> None:
        """Tell the predictor how the pipeline samples, before the run's first forecast.

        Raises:
            ForecastCacheError: the predictor serves no such run.
        """
        if self._watch is not None:
            seen = self._watch.seen()
            self.close()
            self._take(self.predictor.for_sampling(seen))

    def close(self) -> None:
        """Look at the run no longer."""
        if self._watch is not None:
            self._watch.stop()
            self._watch = None

    def _take(self, predictor: Predictor) -> None:
        self.predictor = predictor.for_schedule(self._schedule)
