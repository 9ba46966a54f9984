"""Fit: the schedules of one size, searched for, fitted and judged."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial

import numpy as np
import torch
from torch import Tensor

from forecastcache.calibration.fits import Fit, decibels
from forecastcache.calibration.foretelling import Foretelling
from forecastcache.calibration.output_cache import OutputCache
from forecastcache.calibration.recording import Recording
from forecastcache.calibration.refine import (
    HELD,
    Linearised,
    dampings,
    gain,
    least_squares,
    shifted,
)
from forecastcache.calibration.rolling import Rollout, Rolls
from forecastcache.calibration.schedule_search import (
    GRID,
    Found,
    SpentError,
    Steps,
    ranked,
    resampled,
    search,
    with_one_more,
)
from forecastcache.calibration.targets import FOLDS

SIMULATED_FROM = 10  # computed steps; with fewer, the simulated loop's schedules are bad ones
Tick = Callable[[str, int, int], None]
Change = Callable[[Rollout, Tensor], Rollout]  # fitted to some of the samples


@dataclass(frozen=True)
class SizeFitter:
    """Searches and fits schedules at one size, rolling its samples again and again.

    Attributes:
        rolls: the samples that are this process's.
        recording: recording of the samples of all processes.
        numbers: number of each sample of `rolls` among those of all processes.
        cache: outputs that rolls fitted to all samples have in common.
    """

    rolls: Rolls
    recording: Recording
    numbers: Tensor
    cache: OutputCache

    def search(
        self,
        count: int,
        tries: int,
        fits: Sequence[Fit],
        nearby: Mapping[Steps, float],
        known: Mapping[Steps, float],
        keep: Callable[[Steps, float], None],
        tick: Tick,
        bound: float | None = None,
    ) -> Found:
        """The best `count` computed steps that so many tries find.

        Args:
            count: number of computed steps.
            tries: number of schedules to look at.
            fits: fits of other counts, near which it begins.
            nearby: errors of the schedules of the next lower count that was searched.
            known: errors of schedules that an earlier search of this count looked at.
            keep: called with each other schedule and its error.
            tick: called with (stage, done, of).
            bound: number of evaluations, of all that `rolls` makes, that no try may exceed; None
                for any.

        Raises:
            SpentError: the bound does not allow a single try.
        """
        spent, total = 0, self.recording.steps

        def error(computed: Steps) -> float:
            nonlocal spent
            spent += 1
            tick(f"searching {count}", spent, tries)
            if computed in known:
                return known[computed]
            if bound is not None and self.rolls.evaluations + count * len(self.numbers) > bound:
                raise SpentError
            found = self._error(self.rolls.fitted(computed, cache=self.cache).final)
            keep(computed, found)
            return found

        warps = ranked(nearby, len(next(iter(nearby))), total) if nearby else GRID
        found = search(error, count, total, tries, self._seeds(count, fits), warps)
        tick(f"searching {count}", tries, tries)
        return found

    @property
    def folds(self) -> int:
        """Number of parts of the samples that are left out in turn to judge rows; 0 if of one."""
        folds = min(FOLDS, self.recording.prompts)
        return folds if folds > 1 else 0

    def _seeds(self, count: int, fits: Sequence[Fit]) -> list[Steps]:
        """Schedules that are likely to be good: other counts' stretched, or with one step more."""
        total = self.recording.steps
        seeds: list[Steps] = []
        for fit in sorted(fits, key=lambda fit: abs(len(fit.computed) - count))[:2]:
            seeds.append(resampled(fit.computed, count, total))
            if len(fit.computed) == count - 1:
                seeds += with_one_more(fit.computed, total)
        if count >= SIMULATED_FROM and self.recording.motion.first_order:
            seeds.append(Foretelling(self.recording, fits).nearest(count))
        return seeds

    def fit(self, computed: Sequence[int], refine: bool, tick: Tick) -> Fit:
        """Rows fitted to all samples, judged by rows that were fitted to a part of them.

        Args:
            computed: computed steps.
            refine: whether all rows are refined together, once they are fitted one by one.
            tick: called with (stage, done, of).
        """
        before = self.rolls.evaluations
        rolled, change = self.rolls.fitted(computed, cache=self.cache), None
        if refine:
            rolled, change = self._refined(rolled, tick)
        judged = self._judged(computed, change)
        return Fit(
            computed=tuple(computed),
            rows=rolled.rows,
            latent_psnr_db=judged,
            fitted_latent_psnr_db=decibels(self._error(rolled.final)),
            response=self._response(rolled),
            evaluations=sum(self.rolls.share.group.gather(self.rolls.evaluations - before)),
        )

    def _refined(self, rolled: Rollout, tick: Tick) -> tuple[Rollout, Change | None]:
        """A roll with all its rows moved together, and what moves them; the same if none gains."""
        stage = f"refining {len(rolled.computed)}"
        line = Linearised(self.rolls, rolled, lambda done, of: tick(stage, done, of))
        normals = line.normals(rolled.final, self.numbers)
        whole, before = normals.sum(0), decibels(self._error(rolled.final))
        for damping in dampings(normals, line.ways):
            by = least_squares(whole, damping, line.ways)
            changed = self._moved(rolled, line, by)
            if decibels(self._error(changed.final)) - before > HELD * gain(whole, by):
                return changed, partial(self._changed, line, damping)
        return rolled, None

    def _changed(self, line: Linearised, damping: float, rolled: Rollout, on: Tensor) -> Rollout:
        """A roll whose rows are moved by what some of the samples tell."""
        whole = line.normals(rolled.final, self.numbers, on).sum(0)
        return self._moved(rolled, line, least_squares(whole, damping, line.ways))

    def _moved(self, rolled: Rollout, line: Linearised, by: np.ndarray) -> Rollout:
        rows = shifted(rolled.rows, line.ways, by.tolist())
        return self.rolls.replayed(rolled.computed, rows)

    def _judged(self, computed: Sequence[int], change: Change | None) -> float | None:
        """PSNR in dB by rows that were fitted to the other folds; None for a single sample."""
        folds = self.folds
        if not folds:
            return None
        logs = torch.zeros(len(self.numbers), dtype=torch.float64)
        for fold in range(folds):
            out = self.numbers % folds == fold
            rolled = self.rolls.fitted(computed, ~out)
            if change is not None:
                rolled = change(rolled, ~out)
            logs[out] = self.rolls.missed(rolled.final)[out].log()
        return decibels(self._mean(logs))

    def _error(self, final: Tensor) -> float:
        """Squared distance from the plain samples, the geometric mean over samples: mean PSNR."""
        return self._mean(self.rolls.missed(final).log())

    def _mean(self, logs: Tensor) -> float:
        total, count = self.rolls.share.sum(
            lambda part: np.array([logs[part].sum().item(), len(logs[part])])
        )
        return float(np.exp(total / count))

    def unrolled_gap(self, fits: Sequence[Fit], count: int) -> float | None:
        """What comes of the offer of `count` steps where only others were rolled, less its figure.

        In dB, of all samples; None where no other count was rolled, and for samplers that the
        simulated loop does not know.
        """
        others = Foretelling(self.recording, fits).without(count)
        if not (others.rolled and self.recording.motion.first_order):
            return None
        steps = others.unrolled(count)
        simulated = others.simulated(steps)
        came = self._error(self.rolls.replayed(steps, simulated.rows).final)
        return decibels(came) - decibels(simulated.error)

    def _response(self, rolled: Rollout) -> tuple[tuple[float, float, float], ...]:
        """|d|^2, <d, r> and |r|^2 at each computed step, for one element.

        The sample has moved by d from the plain one, and the network's answer by r.
        """
        found = []
        for step, guided in zip(rolled.computed, rolled.guided):
            moved = rolled.samples[step].double() - self.rolls.plain[step].double()
            answer = guided.double() - self.rolls.plain_guided(step)
            pairs = ((moved, moved), (moved, answer), (answer, answer))
            sums = self.rolls.share.sum(partial(_inner_products, pairs))
            dd, dr, rr = (sums / self.recording.elements).tolist()
            found.append((dd, dr, rr))
        return tuple(found)


def _inner_products(pairs: Sequence[tuple[Tensor, Tensor]], part: slice) -> np.ndarray:
    return np.array([(a[part] * b[part]).sum().item() for a, b in pairs])
