"""Clock: which step of which trajectory a call of the model belongs to.

Models are told the time and nothing else, so the clock reads it. A time seen again with the same
sample is another branch of guidance; a time that turns back is a new trajectory. A pipeline tells
more. It has its scheduler make a new tensor of timesteps for every run, so a run is known by it;
and most schedulers count their steps, so two steps are told apart even where their times are
rounded to one, as FLUX does in bfloat16.
"""

from __future__ import annotations

import weakref
from typing import Any, NamedTuple

from torch import Tensor

from forecastcache.engine.noise_levels import log_snrs
from forecastcache.errors import AttachError
from forecastcache.history import same_values
from forecastcache.step import Step

UNKNOWN = object()  # a scheduler that does not tell how many steps it has made


class Position(NamedTuple):
    """Where a call stands in its trajectory.

    Attributes:
        step: step of the trajectory.
        order: number of calls at the same step before this one: 0 for the first half of guidance.
        starts: whether this call opens a trajectory.
    """

    step: Step
    order: int
    starts: bool


class Clock:
    """Counts steps, and the calls within a step, from the times of the calls.

    Args:
        pipeline: pipeline whose scheduler tells runs and their number of steps. Without one the
            times must fall from step to step, and a run that is abandoned and followed by one
            which starts at a lower time cannot be told from its continuation: call `reset`.

    Raises:
        AttachError: the scheduler calls the model more than once a step.
    """

    def __init__(self, pipeline: object | None) -> None:
        knows_runs = hasattr(getattr(pipeline, "scheduler", None), "set_timesteps")
        self._pipeline = weakref.ref(pipeline) if knows_runs else None
        self._run: Tensor | None = None
        self._levels: list[float] | None = None
        self.reset()
        self._read_scheduler()

    def reset(self) -> None:
        """Forget the trajectory under way: the next call opens another."""
        self._last: Position | None = None
        self._index: object = UNKNOWN
        self._sample: Tensor | None = None
        self._direction = 0 if self._pipeline else -1

    def advance(self, time: float, sample: Tensor) -> Position:
        """Move on to the call at `time` with the model input `sample`, of any shape.

        Raises:
            AttachError: the scheduler calls the model more than once a step.
        """
        run, index = self._read_scheduler()
        position = None if run is not self._run else self._continued(time, sample, index)
        if position is None:
            self.reset()
            self._run = run
            levels = log_snrs(self._scheduler)
            self._levels = None if levels is None else levels.tolist()
            position = Position(self._step(0, time, self._total(time)), order=0, starts=True)
        self._last, self._index = position, index
        if position.order == 0 and index is UNKNOWN:
            # A copy: the next step's sample may be written over this one.
            self._sample = sample.detach().clone()
        return position

    def _continued(self, time: float, sample: Tensor, index: object) -> Position | None:
        """The call as one of the trajectory under way; None if it opens another."""
        if self._last is None:
            return None
        step = self._last.step
        if time == step.time:
            if index is not UNKNOWN:
                same_step = index == self._index
            else:
                same_step = self._sample is not None and same_values(sample, self._sample)
            if same_step:
                return Position(step, self._last.order + 1, starts=False)
            if index is UNKNOWN and not self._repeats(time):
                return None
        turns_back = (time - step.time) * self._direction < 0
        if turns_back or step.is_last:
            return None
        if time != step.time:
            self._direction = 1 if time > step.time else -1
        return Position(self._step(step.index + 1, time, step.total), order=0, starts=False)

    def _step(self, index: int, time: float, total: int | None) -> Step:
        if self._run is None or total is None:
            return Step(index, time, total)
        # Image-to-image runs only the end of the scheduler's timesteps.
        place = len(self._run) - total + index
        return Step(index, time, total, None if self._levels is None else self._levels[place])

    @property
    def tells_logsnr(self) -> bool:
        """Whether steps will come with their noise level."""
        return self._scheduler is not None and log_snrs(self._scheduler) is not None

    @property
    def _scheduler(self) -> Any:
        return getattr(self._pipeline and self._pipeline(), "scheduler", None)

    def _read_scheduler(self) -> tuple[Tensor | None, object]:
        """The timesteps of the run, and how many steps the scheduler has made of it."""
        scheduler = self._scheduler
        if getattr(scheduler, "order", 1) > 1:
            raise AttachError(
                f"{type(scheduler).__name__} calls the model {scheduler.order} times a step, "
                "which look like branches of guidance: use a scheduler of order 1, such as DDIM, "
                "Euler or DPM-Solver multistep"
            )
        return getattr(scheduler, "timesteps", None), getattr(scheduler, "step_index", UNKNOWN)

    def _repeats(self, time: float) -> bool:
        """Whether the run has this time more than once, as PNDM's has."""
        return self._run is not None and int((self._run == time).sum()) > 1

    def _total(self, time: float) -> int | None:
        """Steps from the one at `time` to the end of the run."""
        if self._run is None:
            return None
        # Where the model is given the scheduler's own times, the first of them tells where a run
        # of image-to-image begins; else what the pipeline noted or told the scheduler.
        places = (self._run == time).nonzero()
        if len(places):
            return len(self._run) - int(places[0])
        noted = getattr(self._pipeline and self._pipeline(), "_num_timesteps", None)
        begin = getattr(self._scheduler, "begin_index", None) or 0
        return noted or len(self._run) - begin
