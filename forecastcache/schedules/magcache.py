"""MagCache: how far the size of the blocks' residual is known to drift."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field
from torch import nn

from forecastcache.errors import ScheduleError
from forecastcache.schedule import State
from forecastcache.schedules.adaptive import (
    Adaptive,
    InARow,
    Threshold,
    accumulated,
    follows_computed,
)
from forecastcache.step import Step


class MagnitudeAware(Adaptive):
    """Computes where the size of what all blocks add is known to have drifted by enough.

    With r_t what the blocks add to the image's tokens, gamma_t = mean |r_t| / |r_{t-1}| over
    tokens is measured once a model; it is nearly the same for all prompts. From the newest
    computed step c on, the size of r_c stands for that of r_t with the error
    |1 - gamma_{c+1} ... gamma_t|, and a step is computed where

        sum |1 - gamma_{c+1} ... gamma_s| > threshold,

    summed over the steps s since c. A decision costs nothing: it looks at no tensor, so all
    samples are decided alike, and only the guards know the run. `fit_schedule` measures the
    ratios of a model, as the mean over samples and branches of guidance.

    Args:
        threshold: error of the residual's size, relative, gathered over steps.
        in_a_row: number of steps forecast one after another, at most (K).
        ratios: gamma_0 to gamma_{T-1}, the first of them 1. Of another number of steps the
            nearest is taken.
        retention: share of leading steps that are all computed.

    Reference: MagCache (2506.09045), and its code, as diffusers has it. Two methods of its code
    for FLUX.1-dev are left out: its exception of one step, and ratios for each branch.
    """

    threshold: Threshold = 0.06
    in_a_row: InARow = 3
    ratios: tuple[Annotated[float, Field(ge=0, allow_inf_nan=False)], ...] = ()
    retention: Annotated[float, Field(ge=0, le=1)] = 0.2

    def leading(self, total: int | None) -> int:
        if total is None:
            raise ScheduleError(
                f"{type(self).__name__} needs the number of steps, which a bare model does not "
                "tell: attach the pipeline instead of its model"
            )
        return max(self.first, int(self.retention * total + 0.5))

    def check_model(self, model: nn.Module) -> None:
        if not self.ratios:
            raise ScheduleError(
                "magcache has no ratios of this model: measure them with forecastcache."
                "fit_schedule(pipe, request, 'magcache'), which gives the schedule that has them"
            )

    def exceeds(self, step: Step, state: State) -> bool:
        if step.index < self.leading(step.total):
            return True
        before = 1.0 if follows_computed(step, state) else state.memory.get("ratio", 1.0)
        state.memory["ratio"] = ratio = before * self.ratio(step)
        return not accumulated(abs(1 - ratio), step, state) <= self.threshold

    def ratio(self, step: Step) -> float:
        """The ratio at a step, the nearest where another number of steps was measured."""
        assert step.total is not None
        measured, steps = len(self.ratios), step.total
        if measured == steps or steps == 1:
            return self.ratios[step.index]
        # Halves go to the even one, as torch.round has it.
        return self.ratios[round(step.index * (measured - 1) / (steps - 1))]
