"""AtWork: the predictor of the run under way, which may be another than was attached."""

from __future__ import annotations

from typing import Any

from forecastcache.engine.call import AttachedModel
from forecastcache.engine.sampling_watch import SamplingWatch
from forecastcache.predictor import Predictor
from forecastcache.schedule import Schedule
from forecastcache.step import Step


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
        self._watched = 0  # step that is looked at

    def open(self, pipeline: object | None, model: AttachedModel) -> None:
        """Begin a run, at its first call.

        Raises:
            ForecastCacheError: the predictor serves no such pipeline.
        """
        self.close()
        self._take(self._attached.for_pipeline(pipeline, model.present))
        self._look(pipeline, model, 0)

    def hand_over(self, pipeline: object | None, model: AttachedModel, step: Step) -> None:
        """Go on with a run in which another model takes over at `step`, at its first call.

        Raises:
            ForecastCacheError: the predictor serves no run that samples as the last model's did.
        """
        self.settle(step)
        self._look(pipeline, model, step.index)

    def see(self, step: Step, output: Any) -> None:
        """Take note of what the model returned, where its step is looked at."""
        if self._watch is not None and step.index == self._watched:
            self._watch.see(output)

    def settle(self, step: Step) -> None:
        """Tell the predictor how the pipeline samples, before the first forecast that can know.

        At the step that is looked at itself it is not known yet.

        Raises:
            ForecastCacheError: the predictor serves no such run.
        """
        if self._watch is not None and step.index > self._watched:
            seen = self._watch.seen()
            self.close()
            self._take(self.predictor.for_sampling(seen))

    def _look(self, pipeline: object | None, model: AttachedModel, step: int) -> None:
        """Look at how the pipeline samples at a step, where the predictor asks for it."""
        self.close()
        scheduler: Any = getattr(pipeline, "scheduler", None)
        if "sampling" in self.predictor.needs and scheduler is not None:
            self._watch, self._watched = SamplingWatch(scheduler, model.number), step

    def close(self) -> None:
        """Look at the run no longer."""
        if self._watch is not None:
            self._watch.stop()
            self._watch = None

    def _take(self, predictor: Predictor) -> None:
        self.predictor = predictor.for_schedule(self._schedule)
