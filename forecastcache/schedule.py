"""Schedules: which steps of a trajectory are computed."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Annotated, Any, Literal, final

from pydantic import Field, field_validator
from torch import Tensor, nn

from forecastcache.errors import ScheduleError
from forecastcache.options import Options
from forecastcache.step import Step

# What a schedule may ask to see of the model, beyond its input.
Signal = Literal["output", "first_block", "modulated"]


def not_asked_for(signal: Signal) -> Tensor:
    """What a schedule gets for a signal that its `needs` do not hold.

    Raises:
        ScheduleError: always.
    """
    raise ScheduleError(
        f"this schedule looks at {signal}, but does not ask for it: add it to `needs` (outside a "
        "session there is no model to look into)"
    )


def no_forecast(features: Sequence[Tensor]) -> Tensor | None:
    """What a schedule gets for a forecast outside a session, where no predictor is."""
    return None


def no_grid() -> tuple[int, ...] | None:
    """What a schedule gets for the layout of the tokens outside a session."""
    return None


@dataclass
class State:
    """What a schedule that decides as it runs may look at, in one call of one branch.

    Tensors are the model's own, not copies: they are to be read, not written.

    Attributes:
        computed: steps in the history, oldest first.
        sample: the model's input at this step, any shape; None outside a session.
        computed_output: output of the newest computed call of this branch, None before the
            first; kept only for a schedule whose `needs` hold `output`.
        forecast_output: output of the newest forecast call of this branch, likewise.
        memory: notes of the schedule's own, one dict a branch; empty when a trajectory starts.
        look: runs the model as far as a signal and returns it.
        forecast: the session's predictor, as it would forecast this step from features at the
            steps `computed`, oldest first: the model's outputs, or anything else that was kept
            of these steps; None while it needs more of them.
        grid: the layout of the image's tokens, (frames, height, width) or (height, width), read
            off the call; None where the adapter does not tell.
    """

    computed: Sequence[Step] = ()
    sample: Tensor | None = None
    computed_output: Tensor | None = None
    forecast_output: Tensor | None = None
    memory: dict[str, Any] = field(default_factory=dict)
    look: Callable[[Signal], Tensor] = not_asked_for
    forecast: Callable[[Sequence[Tensor]], Tensor | None] = no_forecast
    grid: Callable[[], tuple[int, ...] | None] = no_grid

    def first_block_residual(self) -> Tensor:
        """What the first block adds to the image's tokens at this step.

        Runs the embedders and the first block, also at a step that is computed afterwards.

        Raises:
            ScheduleError: `needs` does not hold `first_block`.
        """
        return self.look("first_block")

    def modulated_embedding(self) -> Tensor:
        """The first block's input once the timestep embedding has modulated it.

        Runs the embedders and the first norm; what module gives it is the adapter's `modulated`.

        Raises:
            ScheduleError: `needs` does not hold `modulated`.
        """
        return self.look("modulated")


class Schedule(Options, ABC):
    """Decides which steps are computed; the predictor fills in the others.

    The session computes anyway while a history is too short for its predictor.
    """

    @property
    def needs(self) -> frozenset[Signal]:
        """What it looks at in `State` beyond steps and sample; a model must have it.

        `output` are the newest outputs of the model, `first_block` the first block's residual,
        `modulated` the modulated timestep embedding. `attach` refuses a model without them.
        """
        return frozenset()

    @property
    def warm_up(self) -> int:
        """Leading steps that are all computed to fill the histories; 0 where there are none.

        TaylorSeer's series take their differences from the newest two of these on.
        """
        return 0

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

    def remark(self, computed: Sequence[int], total: int) -> str | None:
        """What its user should know of a run of `total` steps, with the remedy; None for nothing.

        Args:
            computed: steps of which at least one branch was computed.
            total: number of steps of the run, which has ended.
        """
        return None

    def check_model(self, model: nn.Module) -> None:
        """Look at the model that it is attached to, before anything is changed.

        A schedule that was found for one model may warn of another, or refuse it.

        Raises:
            ScheduleError: the model is none that it serves.
        """


class Every(Schedule):
    """The first steps, every `interval`-th after them, and the last steps.

    Step s is computed when s < first, or (s - first + 1) is a multiple of `interval`, or
    s >= total - last. `Every(6)` over 50 steps computes 0 1 2 8 14 20 26 32 38 44.

    Args:
        interval: steps from one computed step to the next; 1 computes all.
        first: number of leading steps that are all computed.
        last: number of closing steps that are all computed.

    Reference: TaylorSeer (2503.06923), the schedule of its code (N, first_enhance).
    """

    interval: Annotated[int, Field(ge=1)]
    first: Annotated[int, Field(ge=1)] = 3
    last: Annotated[int, Field(ge=0)] = 0

    @property
    def warm_up(self) -> int:
        return self.first

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


class Warped(Schedule):
    """So many steps from the first to the last, spread by a warp of the unit interval.

    Step i of `count` is (T - 1 - last) (1 - (1 - u^a)^b), rounded, with u = i / (count - 1); where
    two would fall together they move apart. Above 1, `a` begins with short gaps and `b` ends with
    them. `Warped(9)` over 50 steps computes 0 6 13 20 27 34 40 45 49.

    The defaults serve where nothing was calibrated; a calibration searches the family.

    Args:
        count: number of computed steps.
        a: exponent of the beginning.
        b: exponent of the end.
        last: number of steps after the last computed one.
    """

    count: Annotated[int, Field(ge=1)]
    a: Annotated[float, Field(gt=0, le=100, allow_inf_nan=False)] = 1.1
    b: Annotated[float, Field(gt=0, le=100, allow_inf_nan=False)] = 1.3
    last: Annotated[int, Field(ge=0)] = 0

    def compute(self, step: Step, state: State) -> bool:
        if step.total is None:
            raise ScheduleError(
                f"{self} needs the number of steps, which a bare model does not tell: attach the "
                "pipeline instead of its model, or list the steps"
            )
        return step.index in self.computed(step.total)

    def computed(self, total: int) -> tuple[int, ...]:
        self.check(total)
        even = (i / max(self.count - 1, 1) for i in range(self.count))
        end = total - 1 - self.last
        steps = [round(end * (1 - (1 - u**self.a) ** self.b)) for u in even]
        return apart(steps, total)

    def check(self, total: int) -> None:
        if not self.count <= total - self.last:
            raise ScheduleError(
                f"{self} computes {self.count} steps up to the last but {self.last}, but the "
                f"trajectory has {total} steps: compute {max(total - self.last, 1)} at most"
            )


def apart(steps: Sequence[int], total: int) -> tuple[int, ...]:
    """Steps that do not fall, moved apart by as little as makes each its own of `total`."""
    apart: list[int] = []
    for place, step in enumerate(steps):
        latest = total - len(steps) + place
        apart.append(min(max(step, apart[-1] + 1 if apart else 0), latest))
    return tuple(apart)


class Listed(Schedule):
    """The steps listed and no others.

    Args:
        steps: indices of the computed steps, rising, from 0 on.
    """

    steps: tuple[int, ...]

    if TYPE_CHECKING:  # the constructor takes more than the field keeps

        def __init__(self, steps: Iterable[int]) -> None: ...

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

    @property
    def warm_up(self) -> int:
        return next((i for i, step in enumerate(self.steps) if step != i), len(self.steps))

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
