"""AdaCache: the rate of change at a computed step tells how long the next gap is."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field, field_validator

from forecastcache.schedule import Signal, State
from forecastcache.schedules.adaptive import Adaptive, Last, Threshold, relative_change
from forecastcache.step import Step

Entry = tuple[
    Annotated[float, Field(gt=0, allow_inf_nan=False)],
    Annotated[int, Field(ge=1)],
]


class AdaCache(Adaptive):
    """At a computed step, looks up in a codebook when to compute the next.

    With p_c what a block adds at the newest computed step, and p_b at the one before it,
    k = c - b steps earlier, the rate of change is

        d = mean |p_c - p_b| / (k mean |p_b|),

    and the next computed step is c + n, with n the gap of the first entry of the codebook whose
    distance is above d, or the last entry's. A decision at a computed step runs the embedders and
    the first block and waits for one number; at other steps it costs nothing. A batch is decided
    as a whole.

    The original looks at the temporal attention of one block of Open-Sora's middle, which a model
    of images has not; here p is the residual of the first block. Its motion regularization, for
    videos, is left out: its constants are of Open-Sora at 720p.

    Args:
        threshold: factor on the codebook's distances, so no unit; 1 is the paper's codebook.
        codebook: pairs of a relative L1 change a step and the gap in steps, of rising changes.
            The default is that of its code for 30 steps, fast; for 100 steps it has
            [[0.03,12],[0.05,10],[0.07,8],[0.09,6],[0.11,4],[1,3]].

    Reference: AdaCache (2411.02397), and its code, which computes the first step and the last two.
    """

    threshold: Threshold = 1.0
    last: Last = 2
    codebook: tuple[Entry, ...] = (
        (0.08, 6), (0.16, 5), (0.24, 4), (0.32, 3), (0.4, 2), (1.0, 1),
    )  # fmt: skip

    @field_validator("codebook")
    @classmethod
    def _rising(cls, codebook: tuple[Entry, ...]) -> tuple[Entry, ...]:
        changes = [change for change, _ in codebook]
        if not changes or sorted({*changes}) != changes:
            raise ValueError(f"the codebook's changes are {changes}: give some that rise")
        return codebook

    @property
    def needs(self) -> frozenset[Signal]:
        return frozenset({"first_block"})

    def exceeds(self, step: Step, state: State) -> bool:
        memory = state.memory
        if step.index < memory.get("due", 0) and not self.guarded(step, state):
            return False
        now, known = state.first_block_residual(), memory.get("residual")
        if known is None:
            gap = 1
        else:
            index, before = known
            gap = self.gap(relative_change(now, before) / (step.index - index))
        memory["residual"] = step.index, now
        memory["due"] = step.index + gap
        return True

    def gap(self, change: float) -> int:
        """Steps to the next computed one, after a relative change of so much a step."""
        gaps = (gap for known, gap in self.codebook if change < self.threshold * known)
        return next(gaps, self.codebook[-1][1])
