"""Clock: which step of which trajectory a call of the model belongs to.

Models are told the time and nothing else. A pipeline tells more. It has its scheduler make a new
tensor of timesteps for every run, so a run is known by it; the time of a call is most often a view
of that tensor, and most schedulers count their steps, so a step is known by its place in the run.
None of this waits for the device. Where a pipeline tells neither, and for a bare model, the clock
reads the time: one seen again with the same sample is another branch of guidance, one that turns
back is a new trajectory.
"""

from __future__ import annotations

import warnings
import weakref
from typing import Any, NamedTuple

import torch
from torch import Tensor

from forecastcache.engine.noise_levels import log_snrs
from forecastcache.engine.times import (
    RunTimes,
    own_times,
    place_in,
    read_time,
    telling_time,
    times_moved,
)
from forecastcache.errors import AttachError, ForecastCacheWarning
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
        chunked: whether the pipeline notes the steps of several runs as their number, as it does
            where it makes a video chunk by chunk.

    Raises:
        AttachError: the scheduler calls the model more than once a step.
    """

    def __init__(self, pipeline: object | None, chunked: bool = False) -> None:
        self._chunked = chunked
        scheduler = getattr(pipeline, "scheduler", None)
        knows_runs = hasattr(scheduler, "set_timesteps")
        self._pipeline = weakref.ref(pipeline) if knows_runs else None
        # A pipeline whose schedulers have other names may well let its times rise.
        self._first_direction = -1 if pipeline is None else 0
        self._scheduler_of = weakref.ref(scheduler) if knows_runs else None
        self._run: Tensor | None = None
        self._times: RunTimes | None = None
        self._levels: list[float] | None = None
        self._warned = False
        self.reset()
        self._read_scheduler()

    def reset(self) -> None:
        """Forget the trajectory under way: the next call opens another."""
        self._broken_off = 0  # trajectories in a row of which no second step came
        self._last: Position | None = None
        self._place: int | None = None
        self._given: Any = None
        self._count_holds: bool | None = None  # None until a count was seen twice
        self._sample: Tensor | None = None
        self._tokens: Tensor | None = None  # times of their own, where time alone tells the step
        self._by_mean = False
        self._noted = False  # whether the number of steps is the pipeline's
        self._direction = self._first_direction

    def advance(self, given: Any, sample: Tensor, caller: object | None = None) -> Position:
        """Move on to the call that is given a time, a tensor or number, and a sample of any shape.

        Args:
            given: the time, a tensor or a number, or a tuple of several.
            sample: the sample, of any shape.
            caller: pipeline that makes the call, where it is known; it may be another one that
                shares the scheduler.

        Raises:
            AttachError: the scheduler calls the model more than once a step, or a time is NaN.
        """
        run, count = self._read_scheduler()
        given = telling_time(run, given)
        view = place_in(run, given)
        place = count if view is None and self._count_holds is not False else view
        position = None
        if run is self._run and self._last is not None:
            stands = view is None and place is not None and place == self._place
            if stands and not self._count_stands_for(given):
                place = None
            if place is None or self._place is None:
                position = self._continued_in_time(given, sample)
            else:
                position = self._continued(place, given)
        if position is None:
            position = self._start(run, given, view, place is not None, caller)
        self._last, self._place, self._given = position, place, given
        if position.order == 0 and place is None:
            # Copies: the next step's may be written over these.
            self._sample, tokens = sample.detach().clone(), own_times(given)
            self._tokens = None if tokens is None else tokens.clone()
        return position

    def _start(
        self, run: Tensor | None, given: Any, view: int | None, narrow: bool, caller: object | None
    ) -> Position:
        """The first call of a trajectory, whose time is read: it shows how the others come."""
        last, broken_off = self._last, self._broken_off
        self.reset()
        if last is not None and last.step.index == 0 and not last.step.is_last:
            self._broken_off = broken_off + 1
            self._warn_of_windows(caller)
        self._run, time = run, read_time(given)
        levels = log_snrs(self._scheduler)
        self._levels = None if levels is None else levels.tolist()
        self._times, total = None, None
        if run is not None:
            self._times = RunTimes(run, self._scheduler)
            self._times.begin, total = self._extent(self._times, given, time, view, caller)
            if narrow:
                self._times.narrow(0, time, given)
        return Position(self._step(0, time, total), order=0, starts=True)

    def _count_stands_for(self, given: Any) -> bool:
        """Whether the scheduler's count, which stood still, did so because the time does too."""
        before = self._given
        if times_moved(before, given):
            self._count_holds = False
            self._tokens = own_times(before)
        elif self._count_holds is None:
            self._count_holds = read_time(given) == read_time(before)
        if not self._count_holds and self._last is not None and self._times is not None:
            self._times.forget()
            step = self._last.step._replace(time=read_time(before))
            self._last = self._last._replace(step=step)
        return bool(self._count_holds)

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
        time = self._times.told(index) if self._times is not None else None
        if time is None:
            time = read_time(given)
            if self._times is not None:
                self._times.narrow(index, time, given)
        return Position(self._step(index, time, total), order=0, starts=False)

    def _continued_in_time(self, given: Any, sample: Tensor) -> Position | None:
        """The call with a time, where nothing else tells its step; None if it opens another."""
        assert self._last is not None
        step, total = self._last.step, self._last.step.total
        time, moved = self._read(given), times_moved(self._tokens, given)
        if moved and time == step.time:
            # The slowest frames stand still: the scheduler's steps are not those of the run.
            self._by_mean, total = True, total if self._noted else None
            time = self._read(given)
        if time == step.time and not moved:
            if self._sample is not None and same_values(sample, self._sample):
                return Position(step, self._last.order + 1, starts=False)
            if self._times is None or len(self._times.places(time)) < 2:  # as PNDM's times do
                return None
        turns_back = (time - step.time) * self._direction < 0
        if turns_back or (total is not None and step.is_last):
            return None
        if time != step.time:
            self._direction = 1 if time > step.time else -1
        return Position(self._step(step.index + 1, time, total), order=0, starts=False)

    def _read(self, given: Any) -> float:
        return float(torch.as_tensor(given).double().mean()) if self._by_mean else read_time(given)

    def _step(self, index: int, time: float, total: int | None) -> Step:
        place = None if self._times is None or total is None else self._times.place(index)
        if self._levels is None or place is None or self._by_mean:
            return Step(index, time, total)
        return Step(index, time, total, self._levels[place])

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
        return self._scheduler_of and self._scheduler_of()

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
            count = scheduler.step_index
            if count is None:
                count = getattr(scheduler, "begin_index", None) or 0
        return getattr(scheduler, "timesteps", None), count

    def _extent(
        self, times: RunTimes, given: Any, time: float, view: int | None, caller: object | None
    ) -> tuple[int, int]:
        """The place at which a trajectory that starts at `time` begins, and its number of steps.

        Image-to-image leaves out the first times of the run, `denoising_end` the last ones.
        """
        pipeline = caller or (self._pipeline and self._pipeline())
        noted = getattr(pipeline, "_num_timesteps", None)
        own = times.places(time)
        told = getattr(self._scheduler, "begin_index", None)
        if view is not None or own:
            begin = own[0] if view is None else view
        elif told is not None:
            begin = told
        else:
            begin = len(times) - noted if noted and noted <= len(times) else 0
        total = len(times) - begin
        # What another pipeline, or an earlier run, has noted says nothing of this one. Frames
        # that go one behind another take more steps than the scheduler has.
        behind = own_times(given) is not None and not self._chunked
        self._noted = bool(caller is not None and noted and (noted < total or behind))
        return begin, noted if self._noted and noted else total

    def _warn_of_windows(self, caller: object | None) -> None:
        """Say once that every call opens a trajectory, where a pipeline makes them so."""
        pipeline = caller or self.pipeline
        if self._warned or pipeline is None or self._broken_off < 2:
            return
        self._warned = True
        warnings.warn(
            f"nothing is forecast: every call of {type(pipeline).__name__} opens a trajectory, as "
            "in pipelines that denoise windows of a sample one by one or renew their scheduler's "
            "timesteps: detach, or use a pipeline that gives its model the whole sample",
            ForecastCacheWarning,
            stacklevel=2,
        )
