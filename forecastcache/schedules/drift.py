"""Drift: how wrong the forecast was at a computed step tells how long the next gap may be."""

from __future__ import annotations

from typing import Annotated, Any

from pydantic import Field

from forecastcache.schedule import Signal, State
from forecastcache.schedules.adaptive import (
    Adaptive,
    First,
    Last,
    Threshold,
    follows_computed,
    relative_change,
)
from forecastcache.step import Step


class Drift(Adaptive):
    """Step-size control, as solvers of differential equations have it, on the forecast's error.

    At every computed step c, a gap of g steps after the one before it, the session's predictor
    forecasts the output too, and what came shows its error

        e = mean |v^_c - v_c| / mean |v_c|.

    The error of a forecast of order q - 1 grows as the q-th power of the gap, so the next gap is

        g (threshold / e)^(1 / q),

    rounded down, at least 1 and at most `growth` g. A decision runs no part of the model; at a
    computed step it makes one forecast, and it waits for one number after it; at other steps it
    costs nothing. It keeps one output more than the predictor reads. A batch is decided as a
    whole.

    Args:
        threshold: relative L1 error that a forecast of the output may come to at the end of a gap.
        order: q, the power of the gap with which the error grows: 1 for reuse, 2 for Taylor.
        growth: times that a gap may be as long as the one before it.

    Reference: none; ours. The controller is the elementary one of Hairer, Norsett and Wanner,
    Solving Ordinary Differential Equations I, section II.4.
    """

    threshold: Threshold = 0.1
    first: First = 2
    last: Last = 1
    order: Annotated[float, Field(gt=0, allow_inf_nan=False)] = 2.0
    growth: Annotated[float, Field(ge=1, allow_inf_nan=False)] = 2.0

    @property
    def needs(self) -> frozenset[Signal]:
        return frozenset({"output"})

    def exceeds(self, step: Step, state: State) -> bool:
        memory = state.memory
        if follows_computed(step, state):
            self._look_back(step, state)
        if step.index < memory.get("due", 0) and not self.guarded(step, state):
            return False
        outputs = list(memory.get("outputs", {}).values())
        if outputs and len(outputs) == len(state.computed):
            gap = step.index - state.computed[-1].index
            memory["expected"] = step.index, gap, state.forecast(outputs)
        return True

    def _look_back(self, step: Step, state: State) -> None:
        """Hold the forecast of the step before against what was computed, and set the next gap."""
        memory: dict[str, Any] = state.memory
        output = state.computed_output
        outputs = {**memory.get("outputs", {}), step.index - 1: output}
        memory["outputs"] = {
            each.index: outputs[each.index] for each in state.computed if each.index in outputs
        }
        index, gap, expected = memory.pop("expected", (None, 1, None))
        if index == step.index - 1 and expected is not None and output is not None:
            memory["due"] = index + self.gap(gap, relative_change(expected, output))

    def gap(self, gap: int, error: float) -> int:
        """The length of the gap that follows one of `gap` steps at whose end was this error."""
        if error != error:  # NaN
            return 1
        grown = self.growth * gap
        if error > 0:
            grown = min(grown, gap * (self.threshold / error) ** (1 / self.order))
        return max(1, int(grown))
