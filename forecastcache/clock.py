"""Clock: which step of which trajectory, in which branch, a call of the model is.

Models are told the time and nothing else, so the clock reads it. A time seen again is the other
branch of guidance; a time that turns back is a new trajectory. A pipeline tells more: it has its
scheduler make a new tensor of timesteps for every run, so a run is known by that tensor.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import torch
from torch import Tensor

from forecastcache.errors import AttachError
from forecastcache.step import Step


class Tick(NamedTuple):
    """Where a call stands.

    Attributes:
        step: of the trajectory.
        branch: calls at the same step before this one: 0 for the first half of guidance.
        starts: whether this call opens a trajectory.
    """

    step: Step
    branch: int
    starts: bool


class Clock:
    """Counts steps and branches from the times of the calls.

    Args:
        pipeline: whose scheduler tells runs and their number of steps; None for a bare model,
            whose times must fall. An abandoned run of a bare model that is followed by one
            which starts at a lower time cannot be told from its continuation: call `reset`.
    """

    def __init__(self, pipeline: object | None) -> None:
        self._pipeline = pipeline
        self._run: Tensor | None = None
        self.reset()

    def reset(self) -> None:
        """The next call opens a trajectory."""
        self._last: Tick | None = None
        self._sample: Tensor | None = None
        self._direction = 0 if self._pipeline is not None else -1

    def tick(self, time: float, sample: Tensor) -> Tick:
        """Place the call at `time` with the model input `sample`, of any shape.

        Raises:
            AttachError: the scheduler calls the model more than once a step.
        """
        run = self._read_run()
        if self._last is None or run is not self._run or self._turns_back(time, sample):
            self.reset()
            self._run = run
            tick = Tick(Step(0, time, self._total()), branch=0, starts=True)
        elif time == self._last.step.time:
            tick = Tick(self._last.step, self._last.branch + 1, starts=False)
        else:
            self._direction = 1 if time > self._last.step.time else -1
            tick = Tick(Step(self._last.step.index + 1, time, self._last.step.total), 0, False)
        self._last = tick
        self._sample = sample if self._pipeline is None else None
        return tick

    def _turns_back(self, time: float, sample: Tensor) -> bool:
        assert self._last is not None
        if time == self._last.step.time:
            return self._sample is not None and not _same(sample, self._sample)
        return (time - self._last.step.time) * self._direction < 0

    def _read_run(self) -> Tensor | None:
        scheduler: Any = getattr(self._pipeline, "scheduler", None)
        if getattr(scheduler, "order", 1) > 1:
            raise AttachError(
                f"{type(scheduler).__name__} calls the model {scheduler.order} times a step, "
                "which look like branches of guidance: use a scheduler of order 1, such as DDIM, "
                "Euler or DPM-Solver multistep"
            )
        return getattr(scheduler, "timesteps", None)

    def _total(self) -> int | None:
        if self._run is None:
            return None
        # Image-to-image runs only the end of the scheduler's timesteps, and says so here.
        return getattr(self._pipeline, "_num_timesteps", None) or len(self._run)


def _same(a: Tensor, b: Tensor) -> bool:
    return a is b or (a.shape == b.shape and a.device == b.device and torch.equal(a, b))
