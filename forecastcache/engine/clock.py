"""Clock: which step of which trajectory a call of the model belongs to.

Models are told the time and nothing else. A pipeline tells more. It has its scheduler make a new
tensor of timesteps for every run, so a run is known by it; the time of a call is most often a view
of that tensor, and most schedulers count their steps, so a step is known by its place in the run.
None of this waits for the device. Where a pipeline tells neither, and for a bare model, the clock
reads the time: one seen again with the same sample is another branch of guidance, one that turns
back is a new trajectory.
"""

from __future__ import annotations

import weakref
from typing import Any, NamedTuple

from torch import Tensor

from forecastcache.engine.noise_levels import log_snrs
from forecastcache.engine.times import RunTimes, place_in, read_time
from forecastcache.errors import AttachError
from forecastcache.history import same_values
from forecastcache.step import Step


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
        self._times: RunTimes | None = None
        self._levels: list[float] | None = None
        self.reset()
        self._read_scheduler()

    def reset(self) -> None:
        """Forget the trajectory under way: the next call opens another."""
        self._last: Position | None = None
        self._place: int | None = None
        self._given: Any = None
        self._count_holds: bool | None = None  # None until a count was seen twice
        self._sample: Tensor | None = None
        self._direction = 0 if self._pipeline else -1

    def advance(self, given: Any, sample: Tensor) -> Position:
        """Move on to the call that is given a time, a tensor or number, and a sample of any shape.

        Raises:
            AttachError: the scheduler calls the model more than once a step.
        """
        run, count = self._read_scheduler()
        view = place_in(run, given)
        place = count if view is None else view
        position = None
        if run is self._run and self._last is not None:
            if view is None and place == self._place and not self._count_stands_for(given):
                place = None
            if place is None or self._place is None:
                position = self._continued_in_time(read_time(given), sample)
            else:
                position = self._continued(place, given)
        if position is None:
            position = self._start(run, given, narrow=place is not None)
        self._last, self._place, self._given = position, place, given
        if position.order == 0 and place is None:
            # A copy: the next step's sample may be written over this one.
            self._sample = sample.detach().clone()
        return position

    def _start(self, run: Tensor | None, given: Any, narrow: bool) -> Position:
        """The first call of a trajectory, whose time is read: it shows how the others come."""
        self.reset()
        self._run, time = run, read_time(given)
        levels = log_snrs(self._scheduler)
        self._levels = None if levels is None else levels.tolist()
        self._times = None if run is None else RunTimes(run, self._scheduler)
        total = self._total(time)
        if narrow and self._times is not None and total is not None:
            self._times.narrow(0, total, time, given)
        return Position(self._step(0, time, total), order=0, starts=True)

    def _count_stands_for(self, given: Any) -> bool:
        """Whether the scheduler's count, which stood still, did so because the time does too."""
        if self._count_holds is None:
            before = read_time(self._given)
            self._count_holds = read_time(given) == before
            if not self._count_holds and self._last is not None and self._times is not None:
                self._times.forget()
                step = self._last.step._replace(time=before)
                self._last = self._last._replace(step=step)
        return self._count_holds

    def _continued(self, place: int, given: Any) -> Position | None:
        """The call at a place of the run; None if it opens another trajectory."""
        assert self._last is not None
        assert self._place is not None
        step = self._last.step
        if place == self._place:
            return Position(step, self._last.order + 1, starts=False)
        if place < self._place or step.is_last:
            return None
        index, total = step.index + 1, step.total
        time = self._times.told(index, total) if self._times is not None else None
        if time is None:
            time = read_time(given)
            if self._times is not None and total is not None:
                self._times.narrow(index, total, time, given)
        return Position(self._step(index, time, total), order=0, starts=False)

    def _continued_in_time(self, time: float, sample: Tensor) -> Position | None:
        """The call at a time, where nothing else tells its step; None if it opens another."""
        assert self._last is not None
        step = self._last.step
        if time == step.time:
            if self._sample is not None and same_values(sample, self._sample):
                return Position(step, self._last.order + 1, starts=False)
            if self._times is None or len(self._times.places(time)) < 2:  # as PNDM's times do
                return None
        turns_back = (time - step.time) * self._direction < 0
        if turns_back or step.is_last:
            return None
        if time != step.time:
            self._direction = 1 if time > step.time else -1
        return Position(self._step(step.index + 1, time, step.total), order=0, starts=False)

    def _step(self, index: int, time: float, total: int | None) -> Step:
        if self._times is None or self._levels is None or total is None:
            return Step(index, time, total)
        return Step(index, time, total, self._levels[self._times.place(index, total)])

    @property
    def pipeline(self) -> Any:
        """The pipeline; None for a bare model, and once nobody else holds it."""
        return self._pipeline and self._pipeline()

    @property
    def tells_logsnr(self) -> bool:
        """Whether steps will come with their noise level."""
        return self._scheduler is not None and log_snrs(self._scheduler) is not None

    @property
    def _scheduler(self) -> Any:
        return getattr(self._pipeline and self._pipeline(), "scheduler", None)

    def _read_scheduler(self) -> tuple[Tensor | None, int | None]:
        """The timesteps of the run, and how many of them the scheduler has behind it."""
        scheduler = self._scheduler
        if getattr(scheduler, "order", 1) > 1:
            raise AttachError(
                f"{type(scheduler).__name__} calls the model {scheduler.order} times a step, "
                "which look like branches of guidance: use a scheduler of order 1, such as DDIM, "
                "Euler or DPM-Solver multistep"
            )
        count = None
        if hasattr(scheduler, "step_index"):
            # It begins to count with its first step.
            count = self._begins if scheduler.step_index is None else scheduler.step_index
        return getattr(scheduler, "timesteps", None), count

    @property
    def _begins(self) -> int:
        return getattr(self._scheduler, "begin_index", None) or 0

    def _total(self, time: float) -> int | None:
        """Steps from the one at `time` to the end of the run."""
        if self._times is None:
            return None
        # Where the model is given the scheduler's own times, the first of them tells where a run
        # of image-to-image begins; else what the pipeline noted or told the scheduler.
        places = self._times.places(time)
        if places:
            return len(self._times) - places[0]
        noted = getattr(self._pipeline and self._pipeline(), "_num_timesteps", None)
        return noted or len(self._times) - self._begins
