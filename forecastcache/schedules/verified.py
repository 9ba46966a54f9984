"""Verified: forecast, check the forecast on one cheap block, accept it or compute."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field
from torch import Tensor

from forecastcache.errors import ScheduleError
from forecastcache.schedule import Signal, State
from forecastcache.schedules.adaptive import (
    Adaptive,
    First,
    InARow,
    Threshold,
    follows_computed,
    relative_change,
)
from forecastcache.step import Step


class Verified(Adaptive):
    """Computes where the session's own predictor fails on the first block's residual.

    The first block is computed, and its residual r_t forecast as r^_t by the predictor of the
    session, from the residuals at the computed steps. The forecast of the step is accepted where

        mean |r^_t - r_t| / mean |r_t| <= max(threshold decay^(t / T), floor),

    else the step is computed. A decision runs the embedders and the first block, makes one
    forecast and waits for one number; `unchecked` steps cost nothing. It keeps as many residuals
    as the predictor reads. A batch is decided as a whole.

    SpeCa checks the last block, on the input that forecasts of the others give it, which needs
    forecasts inside the model; the first block's input is exact at any site, at the same price.
    Its code lets an error that it finds decide the step after; its paper, and this class, the
    step itself. Its errors are means of |x^ - x| / |x|, so its thresholds are not comparable.

    Args:
        threshold: relative L1 error of the forecast residual that is accepted at step 0 (tau_0).
        in_a_row: number of steps forecast one after another, at most.
        decay: factor by which the accepted error falls over a run (beta).
        floor: error that is accepted at any step.
        unchecked: number of forecast steps after a computed one that are accepted unseen.

    Reference: SpeCa (2509.11628), and its code, from which is `floor`.
    """

    threshold: Threshold = 0.1
    first: First = 3
    in_a_row: InARow = 8
    decay: Annotated[float, Field(gt=0, le=1)] = 0.5
    floor: Annotated[float, Field(ge=0, allow_inf_nan=False)] = 0.0
    unchecked: Annotated[int, Field(ge=0)] = 0

    @property
    def needs(self) -> frozenset[Signal]:
        return frozenset({"first_block"})

    def exceeds(self, step: Step, state: State) -> bool:
        residuals = self._computed_residuals(step, state)
        guarded = self.guarded(step, state)
        if not guarded and step.index - state.computed[-1].index <= self.unchecked:
            return False
        state.memory["seen"] = now = state.first_block_residual()
        if guarded or len(residuals) < len(state.computed):
            return True
        expected = state.forecast(residuals)
        return expected is None or not relative_change(expected, now) <= self.accepted(step)

    def accepted(self, step: Step) -> float:
        """The error that is accepted at a step."""
        if self.decay == 1:
            return max(self.threshold, self.floor)
        if step.total is None:
            raise ScheduleError(
                f"{self} needs the number of steps, which a bare model does not tell: attach the "
                "pipeline instead of its model, or use decay=1"
            )
        return float(max(self.threshold * self.decay ** (step.index / step.total), self.floor))

    def _computed_residuals(self, step: Step, state: State) -> list[Tensor]:
        """The residuals at the computed steps that were looked at, oldest first."""
        memory = state.memory
        seen = memory.pop("seen", None)
        known: dict[int, Tensor] = memory.get("residuals", {})
        if seen is not None and follows_computed(step, state):
            known = {**known, step.index - 1: seen}
        memory["residuals"] = {s.index: known[s.index] for s in state.computed if s.index in known}
        return list(memory["residuals"].values())
