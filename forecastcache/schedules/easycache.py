"""EasyCache: the output's change, told from the input's."""

from __future__ import annotations

from typing import Any

from torch import Tensor

from forecastcache.schedule import Signal, State
from forecastcache.schedules.adaptive import (
    Adaptive,
    First,
    Last,
    Threshold,
    accumulated,
    follows_computed,
    mean_size,
)
from forecastcache.step import Step


class EasyCache(Adaptive):
    """Computes once the output should have changed by enough, as the sample has.

    The transformation rate of the newest two computed steps b < c, of samples x and outputs v,

        k = mean |v_c - v_b| / mean |x_c - x_b|,

    stays nearly the same for some steps, so the change of the output is told from that of the
    sample, and a step is computed where

        sum k mean |x_t - x_{t-1}| / mean |v_c| >= threshold,

    summed over the steps since c. A decision runs no part of the model: it reads the sample and
    waits for one number; after a computed step for four. It keeps two samples and two outputs a
    branch. A batch is decided as a whole. The original reuses v - x; any predictor serves. Its
    code for guidance decides both branches by the conditional one; here each decides for itself.

    Args:
        threshold: relative L1 change of the output, as k tells it, gathered over steps; the paper
            writes it in percent.

    Reference: EasyCache (2507.02860), and its code, which computes the first five steps and the
    last.
    """

    threshold: Threshold = 0.025
    first: First = 5
    last: Last = 1

    @property
    def needs(self) -> frozenset[Signal]:
        return frozenset({"output"})

    def exceeds(self, step: Step, state: State) -> bool:
        assert state.sample is not None
        memory = state.memory
        now, before = state.sample.clone(), memory.get("sample")
        memory["sample"] = now
        if before is None or state.computed_output is None:
            return True
        if follows_computed(step, state):
            self._note_computed(before, state.computed_output, memory)
        if "rate" not in memory:
            return True
        change = memory["rate"] * mean_size(now - before)
        return not accumulated(change, step, state) < self.threshold

    def _note_computed(self, sample: Tensor, output: Tensor, memory: dict[str, Any]) -> None:
        """Find k / mean |v_c| from the newest two computed steps."""
        known = memory.get("computed")
        memory["computed"] = sample, output
        if known is None:
            return
        moved = mean_size(sample - known[0]) * mean_size(output)
        memory["rate"] = mean_size(output - known[1]) / moved if moved else float("inf")
