"""Course: the prompts of one size, sent through the accelerated sampler again and again."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from torch import Tensor

from forecastcache.attachment import denoisers
from forecastcache.calibration.closed_loop import Rolled, roll
from forecastcache.calibration.memo import Memo
from forecastcache.calibration.parts import in_parts
from forecastcache.calibration.recording import Recording
from forecastcache.calibration.search import search
from forecastcache.calibration.sizes import Fit, decibels
from forecastcache.calibration.team import Share
from forecastcache.registry import adapter_for
from forecastcache.sampling import Request

HELD_OUT = 0.25  # share of the prompts, the last ones, by which schedules are judged


@dataclass(frozen=True)
class Course:
    """What closed-loop fits of one size need.

    Attributes:
        pipe: a diffusers pipeline.
        request: this process's prompts.
        plain: x_0 to x_T of them, sampled plainly.
        recording: of the prompts of all processes.
        share: this process's.
        micro_batch: samples that the network sees at once.
        depth: newest computed steps that rows read; None for all.
    """

    pipe: Any
    request: Request
    plain: Sequence[Tensor]
    recording: Recording
    share: Share
    micro_batch: int
    depth: int | None

    def fit(self, computed: Sequence[int]) -> Fit:
        """Rows fitted to all prompts, with the error of rows that were not."""
        judged = self._rolled(computed, self._judged_from).error
        rows = self._rolled(computed, None).rows
        return Fit(computed=tuple(computed), rows=rows, psnr_db=decibels(judged))

    def search(
        self, count: int, tries: int, tell: Callable[[str, int, int], None]
    ) -> tuple[int, ...]:
        """The best `count` computed steps that so many tries find."""
        memo, spent = Memo(), 0

        def error(computed: tuple[int, ...]) -> float:
            nonlocal spent
            spent += 1
            tell(f"searching {count}", spent, tries)
            return self._rolled(computed, self._judged_from, memo).error

        found = search(error, count, len(self.plain) - 1, tries)
        tell(f"searching {count}", tries, tries)
        return found.computed

    @property
    def _judged_from(self) -> int:
        """How many of this process's prompts are not held out."""
        prompts, team = self.recording.prompts, self.share.team
        fitted = prompts - max(1, round(HELD_OUT * prompts))
        starts = team.mine(range(0, prompts, self.micro_batch))
        return sum(
            min(max(fitted - start, 0), size) for start, size in zip(starts, self.share.sizes)
        )

    def _rolled(
        self, computed: Sequence[int], fitted: int | None, memo: Memo | None = None
    ) -> Rolled:
        (model, *_), _ = denoisers(self.pipe)
        with in_parts(model, adapter_for(model), self.share.sizes):
            return roll(
                self.pipe,
                lambda: self.request.run(self.pipe),
                self.plain,
                self.recording.motion,
                computed,
                self.depth,
                fitted=fitted,
                memo=memo,
                share=self.share,
            )
