"""Adaptive: what the schedules that decide as they run have in common."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Sequence
from typing import Annotated, TypeAlias, final

import torch
from pydantic import Field
from torch import Tensor

from forecastcache.errors import ScheduleError
from forecastcache.schedule import Schedule, State
from forecastcache.step import Step

First: TypeAlias = Annotated[int, Field(ge=1)]
Last: TypeAlias = Annotated[int, Field(ge=0)]
Threshold: TypeAlias = Annotated[float, Field(ge=0, allow_inf_nan=False)]
InARow: TypeAlias = Annotated[int, Field(ge=1)] | None


class Adaptive(Schedule):
    """Computes a step where something has changed too much, or where a guard says so.

    A call is decided as a whole, all samples of its batch alike; with two calls a step, each
    branch of guidance is decided by itself.

    Args:
        threshold: change from which on a step is computed, in the unit of the rule; 0 computes
            all.
        first: number of leading steps that are all computed.
        last: number of closing steps that are all computed.
        in_a_row: number of steps forecast one after another, at most; None for no limit.
    """

    threshold: Threshold
    first: First = 1
    last: Last = 0
    in_a_row: InARow = None

    @property
    def warm_up(self) -> int:
        return self.first

    @abstractmethod
    def exceeds(self, step: Step, state: State) -> bool:
        """Whether the rule wants `step` computed; asked at every step, guarded ones too."""

    @final
    def compute(self, step: Step, state: State) -> bool:
        if self.threshold == 0:
            return True
        guarded = self.guarded(step, state)
        return self.exceeds(step, state) or guarded

    def guarded(self, step: Step, state: State) -> bool:
        """Whether `step` is computed whatever the rule says."""
        newest = state.computed[-1].index if state.computed else None
        return self._is_guarded(step, newest)

    def leading(self, total: int | None) -> int:
        """Number of leading steps that are all computed, of `total`."""
        return self.first

    def always(self, total: int) -> list[int]:
        """The steps of `total` that are computed where the rule wants none."""
        steps: list[int] = []
        for index in range(total):
            newest = steps[-1] if steps else None
            if self._is_guarded(Step(index, 0.0, total), newest):
                steps.append(index)
        return steps

    def remark(self, computed: Sequence[int], total: int) -> str | None:
        if self.threshold == 0:
            return None
        if len(computed) == total:
            return f"every step was computed: raise threshold={self.threshold:g}"
        if list(computed) == self.always(total):
            return (
                "no step was computed but those that always are: lower "
                f"threshold={self.threshold:g}"
            )
        return None

    def _is_guarded(self, step: Step, newest: int | None) -> bool:
        if self.last and step.total is None:
            raise ScheduleError(
                f"{self} needs the number of steps, which a bare model does not tell: "
                "attach the pipeline instead of its model, or use last=0"
            )
        if newest is None or step.index < self.leading(step.total):
            return True
        closing = step.total is not None and step.index >= step.total - self.last
        return closing or (self.in_a_row is not None and step.index - newest - 1 >= self.in_a_row)


def follows_computed(step: Step, state: State) -> bool:
    """Whether the step before this one was computed, by whoever wanted it."""
    return bool(state.computed) and state.computed[-1].index == step.index - 1


def accumulated(change: float, step: Step, state: State) -> float:
    """The sum of the changes that were given since the newest computed step, this one included."""
    before = 0.0 if follows_computed(step, state) else state.memory.get("accumulated", 0.0)
    state.memory["accumulated"] = total = before + change
    return float(total)


def relative_change(now: Tensor, before: Tensor) -> float:
    """The ratio mean |now - before| / mean |before|, in float32; not finite where `before` is 0.

    Reading it waits for the device.
    """
    now, before = now.float(), before.float()
    return float((now - before).abs().mean() / before.abs().mean())


def mean_size(tensor: Tensor) -> float:
    """The mean of |x|, in float32; reading it waits for the device."""
    return float(torch.linalg.vector_norm(tensor.float(), 1) / tensor.numel())
