"""Schedules: which steps of a trajectory are computed."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import Annotated, Any, final

from pydantic import Field, field_validator
from torch import Tensor

from forecastcache.errors import ScheduleError
from forecastcache.options import Options
from forecastcache.step import Step


@dataclass
class State:
    """What a schedule that decides as it runs may look at, one a branch and trajectory.

    Attributes:
        computed: the steps in the history, oldest first.
        sample: the model's input at this step, any shape.
        memory: the schedule's own notes; empty when the trajectory starts.
    """

    computed: Sequence[Step] = ()
    sample: Tensor | None = None
    memory: dict[str, Any] = field(default_factory=dict)


class Schedule(Options, ABC):
    """Decides which steps are computed; the predictor fills in the others.

    The session computes anyway while a history is too short for its predictor.
    """

    @abstractmethod
    def compute(self, step: Step, state: State) -> bool:
        """Whether `step` is computed."""

    def computed(self, total: int) -> tuple[int, ...]:
        """The steps computed of `total`, for a schedule that knows them beforehand.

        Raises:
            ScheduleError: the schedule decides as it runs, or does not fit `total` steps.
        """
        raise ScheduleError(
            f"{self} decides as it runs; read the computed steps off the session's report"
        )

    @final
    def foreseen(self, total: int) -> tuple[int, ...] | None:
        """The steps computed of `total`; None where the schedule decides as it runs."""
        if type(self).computed is Schedule.computed:
            return None
        return self.computed(total)

    def check(self, total: int) -> None:
        """Refuse a trajectory of `total` steps that this schedule does not fit.

        Raises:
            ScheduleError: naming the step or count that does not fit.
        """


class Every(Schedule):
    """The first steps, every `interval`-th after them, and the last steps.

    Step s is computed when s < first, or (s - first + 1) is a multiple of `interval`, or
    s >= total - last. `Every(6, first=3)` over 50 steps computes 0 1 2 8 14 20 26 32 38 44.

    Args:
        interval: steps from one computed step to the next; 1 computes all.
        first: leading steps that are all computed.
        last: closing steps that are all computed.

    Reference: TaylorSeer (2503.06923), the schedule of its code (N, first_enhance).
    """

    interval: Annotated[int, Field(ge=1)]
    first: Annotated[int, Field(ge=1)] = 1
    last: Annotated[int, Field(ge=0)] = 0

    def __init__(self, interval: int, first: int = 1, last: int = 0) -> None:
        Options.__init__(self, interval=interval, first=first, last=last)

    def compute(self, step: Step, state: State) -> bool:
        if self.last and step.total is None:
            raise ScheduleError(
                f"{self} needs the number of steps, which a bare model does not tell: "
                "attach the pipeline instead of its model, or use last=0"
            )
        closing = step.total is not None and step.index >= step.total - self.last
        past_first = step.index - self.first + 1
        return past_first <= 0 or past_first % self.interval == 0 or closing

    def computed(self, total: int) -> tuple[int, ...]:
        steps = (Step(i, 0.0, total) for i in range(total))
        return tuple(step.index for step in steps if self.compute(step, State()))


class Listed(Schedule):
    """The steps listed and no others.

    Args:
        steps: indices of the computed steps, rising, from 0 on.
    """

    steps: tuple[int, ...]

    def __init__(self, steps: Iterable[int]) -> None:
        Options.__init__(self, steps=tuple(steps) if isinstance(steps, Iterable) else steps)

    @field_validator("steps")
    @classmethod
    def _rising_from_zero(cls, steps: tuple[int, ...]) -> tuple[int, ...]:
        listed = " ".join(map(str, steps))
        if not steps or steps[0] != 0:
            raise ValueError(
                f"steps are {listed or 'empty'}, but there is nothing to forecast step 0 from: "
                "begin the list with 0"
            )
        if any(b <= a for a, b in zip(steps, steps[1:])):
            raise ValueError(f"steps are {listed}, but each must be above the one before it")
        return steps

    def compute(self, step: Step, state: State) -> bool:
        return step.index in self.steps

    def computed(self, total: int) -> tuple[int, ...]:
        self.check(total)
        return self.steps

    def check(self, total: int) -> None:
        beyond = [s for s in self.steps if s >= total]
        if beyond:
            raise ScheduleError(
                f"the schedule names step {beyond[0]}, but the trajectory has {total} steps: "
                f"list steps from 0 to {total - 1}"
            )
