"""TeaCache: the change of the modulated timestep embedding, gathered."""

from __future__ import annotations

from pydantic import field_validator

from forecastcache.schedule import Signal, State
from forecastcache.schedules.adaptive import (
    Adaptive,
    Last,
    Threshold,
    accumulated,
    relative_change,
)
from forecastcache.step import Step


class TeaCache(Adaptive):
    """Computes once the first block's modulated input has changed by enough since the last time.

    With F_t the first block's input as the timestep embedding modulates it, a step is computed
    where

        sum f(mean |F_t - F_{t-1}| / mean |F_{t-1}|) >= threshold,

    summed over the steps since the newest computed one. The polynomial f takes a change of F to
    one of the model's output; its coefficients are a model's own, and `fit_schedule` finds them.

    A decision runs the embedders and the first norm, and waits for one number. A batch is decided
    as a whole. The paper reuses the newest residual of all blocks (Reuse); any predictor serves.

    Args:
        threshold: relative L1 change of the output, as f tells it, gathered over steps.
        coefficients: coefficients of f, of the highest power first; the default leaves the change
            as it is.

    Reference: TeaCache (2411.19108), equations 4 and 7, and its code, which computes the first
    step and the last.
    """

    threshold: Threshold = 0.25
    last: Last = 1
    coefficients: tuple[float, ...] = (1.0, 0.0)

    @field_validator("coefficients")
    @classmethod
    def _not_none(cls, coefficients: tuple[float, ...]) -> tuple[float, ...]:
        if not coefficients:
            raise ValueError("coefficients are empty: 1,0 leaves the change as it is")
        return coefficients

    @property
    def needs(self) -> frozenset[Signal]:
        return frozenset({"modulated"})

    def exceeds(self, step: Step, state: State) -> bool:
        now, before = state.modulated_embedding(), state.memory.get("modulated")
        state.memory["modulated"] = now
        if before is None:
            return True
        change = self.rescaled(relative_change(now, before))
        return not accumulated(change, step, state) < self.threshold

    def rescaled(self, change: float) -> float:
        """f, by Horner's rule."""
        value = 0.0
        for coefficient in self.coefficients:
            value = value * change + coefficient
        return value
