"""FirstBlockCache: the change of the first block's residual."""

from __future__ import annotations

from forecastcache.schedule import Signal, State
from forecastcache.schedules.adaptive import (
    Adaptive,
    Threshold,
    follows_computed,
    relative_change,
)
from forecastcache.step import Step


class FirstBlockCache(Adaptive):
    """Computes where the first block adds something else than at the newest computed step.

    With r_t what the first block adds to the image's tokens, and c the newest computed step, a
    step is computed where

        mean |r_t - r_c| / mean |r_c| > threshold.

    A decision runs the embedders and the first block, at computed steps too, and waits for one
    number. A batch is decided as a whole. The original goes on from the first block's output and
    reuses what the other blocks added; here the predictor fills in the site that is attached.
    DBCache is the same rule over the first n blocks; only n = 1 is served.

    Args:
        threshold: relative L1 change of the first block's residual.

    Reference: FirstBlockCache (ParaAttention, no paper), as diffusers has it; DBCache (cache-dit).
    """

    threshold: Threshold = 0.05

    @property
    def needs(self) -> frozenset[Signal]:
        return frozenset({"first_block"})

    def exceeds(self, step: Step, state: State) -> bool:
        memory = state.memory
        if follows_computed(step, state):
            memory["computed"] = memory["seen"]
        memory["seen"] = now = state.first_block_residual()
        known = memory.get("computed")
        return known is None or not relative_change(now, known) <= self.threshold
