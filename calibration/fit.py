"""Fit: rows fitted in closed loop, where the accelerated sampler goes.

All calibration prompts roll through the accelerated sampler in lock step. At a forecast step s the
row is the one whose forecast lands the samples best on the plain trajectories:

    w_s = argmin E |x_{s+1} - a_s x~_s - b_s sum_c w_c g~_c|^2 + ridge |w|^2

over the computed steps c, with x~ and g~ of the accelerated run. Then the samples move by it, and
the next row makes up for what this one has missed. Nothing is fitted at computed steps.

At `site="output"`, a row over past outputs inside a sampler of first order is a non-stationary
linear multistep method: learned solvers (BNS, 2403.01329; S4S, 2502.17423) train the same numbers
by gradient descent through the sampler.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from pydantic import SkipValidation
from torch import Tensor

from forecastcache.calibration.distributed import Shard
from forecastcache.calibration.fits import Fit, decibels
from forecastcache.calibration.gram import RIDGE, solve
from forecastcache.calibration.microbatch import in_microbatches
from forecastcache.calibration.output_cache import OutputCache
from forecastcache.calibration.recording import Recording
from forecastcache.calibration.sampler import Motion
from forecastcache.calibration.schedule_search import search
from forecastcache.engine.attach import attach, denoisers
from forecastcache.predictor import LinearPredictor
from forecastcache.predictors.row import Row
from forecastcache.registry import adapter_for
from forecastcache.sampling.request import Request
from forecastcache.sampling.trajectory import Trajectory, trajectory_of
from forecastcache.schedule import Listed
from forecastcache.step import Step

TINY = 1e-20
HELD_OUT = 0.25  # share of the prompts, the last ones, by which schedules are judged


@dataclass(frozen=True)
class SizeFitter:
    """Fits and searches schedules at one size, rolling its prompts again and again.

    Attributes:
        pipe: a diffusers pipeline.
        request: request for this process's prompts.
        plain: samples x_0 to x_T of these prompts, sampled plainly.
        recording: recording of the prompts of all processes.
        shard: share of the prompts that is this process's.
        micro_batch: number of samples that the network sees at once.
        depth: number of newest computed steps that rows read; None for all.
    """

    pipe: Any
    request: Request
    plain: Sequence[Tensor]
    recording: Recording
    shard: Shard
    micro_batch: int
    depth: int | None

    def fit(self, computed: Sequence[int]) -> Fit:
        """Rows fitted to all prompts, with the error of rows that were not."""
        judged = self._rolled(computed, self._judged_from).error
        rows = self._rolled(computed, None).rows
        return Fit(computed=tuple(computed), rows=rows, latent_psnr_db=decibels(judged))

    def search(
        self,
        count: int,
        tries: int,
        progress: Callable[[str, int, int], None],
        known: Mapping[tuple[int, ...], float],
        keep: Callable[[tuple[int, ...], float], None],
    ) -> tuple[int, ...]:
        """The best `count` computed steps that so many tries find.

        Args:
            count: number of computed steps.
            tries: number of schedules to look at.
            progress: called with (stage, done, of).
            known: errors of schedules that an earlier search looked at.
            keep: called with each other schedule and its error.
        """
        cache, spent = OutputCache(), 0

        def error(computed: tuple[int, ...]) -> float:
            nonlocal spent
            spent += 1
            progress(f"searching {count}", spent, tries)
            if computed in known:
                return known[computed]
            found = self._rolled(computed, self._judged_from, cache).error
            keep(computed, found)
            return found

        found = search(error, count, len(self.plain) - 1, tries)
        progress(f"searching {count}", tries, tries)
        return found.computed

    @property
    def _judged_from(self) -> int:
        """How many of this process's prompts are not held out."""
        prompts, group = self.recording.prompts, self.shard.group
        fitted = prompts - max(1, round(HELD_OUT * prompts))
        starts = group.own(range(0, prompts, self.micro_batch))
        return sum(
            min(max(fitted - start, 0), size) for start, size in zip(starts, self.shard.sizes)
        )

    def _rolled(
        self, computed: Sequence[int], fitted: int | None, cache: OutputCache | None = None
    ) -> Rollout:
        (model, *_), _ = denoisers(self.pipe)
        with in_microbatches(model, adapter_for(model), self.shard.sizes):
            return roll(
                self.pipe,
                lambda: self.request.run(self.pipe),
                self.plain,
                self.recording.motion,
                computed,
                self.depth,
                fitted=fitted,
                cache=cache,
                shard=self.shard,
            )


@dataclass(frozen=True)
class Rollout:
    """What a roll through the accelerated sampler found.

    Attributes:
        computed: computed steps.
        rows: rows, one for each forecast step.
        final: samples that it ended at.
        error: squared distance of these samples from the plain ones, for one element; the
            geometric mean over samples, since it is mean PSNR by which samplers are compared.
    """

    computed: tuple[int, ...]
    rows: tuple[Row, ...]
    final: Tensor
    error: float


def roll(
    pipe: Any,
    run: Callable[[], object],
    plain: Sequence[Tensor],
    motion: Motion,
    computed: Sequence[int],
    depth: int | None = None,
    ridge: float = RIDGE,
    fitted: int | None = None,
    cache: OutputCache | None = None,
    shard: Shard | None = None,
) -> Rollout:
    """Fit the rows of one schedule in closed loop.

    Args:
        pipe: a diffusers pipeline.
        run: function that has it sample all calibration prompts, as one batch.
        plain: samples x_0 to x_T of the same prompts and seeds, sampled plainly.
        motion: motion of its sampler, of first order.
        computed: computed steps, rising from 0.
        depth: number of newest computed steps that a row reads; None for all.
        ridge: ridge as a part of the mean diagonal.
        fitted: number of samples, the first ones, that rows are fitted to; the error is that of
            the others. None fits to all and gives the error of all.
        cache: outputs of other rolls of the same prompts with the same options.
        shard: this process's part of the group's prompts; None for all there are.
    """
    shard = shard or Shard.whole(len(plain[0]))
    (model, *_), _ = denoisers(pipe)
    with trajectory_of(pipe, len(plain[0])) as trajectory:
        fitter = _RowFitter(trajectory, plain, motion, depth, ridge, fitted, shard)
        cached = (cache or OutputCache(room=0)).serving(
            model, computed, lambda: len(trajectory.guided)
        )
        with cached, attach(pipe, Listed(computed), _FittedOnTheWay(fitter=fitter)):
            run()
        final = trajectory.samples[-1]
    missed = (final - plain[-1]).double().square().flatten(1).mean(1).clamp(min=TINY).log()

    def judged(part: slice) -> np.ndarray:
        logs = missed[max(part.start, fitted or 0) : part.stop]
        return np.array([logs.sum().item(), len(logs)])

    total, count = shard.sum(judged)
    error = math.exp(total / count)
    return Rollout(tuple(computed), tuple(fitter.rows.values()), final, error)


class _RowFitter:
    """Solves the row of the step that a run has come to, once for all its branches."""

    def __init__(
        self,
        trajectory: Trajectory,
        plain: Sequence[Tensor],
        motion: Motion,
        depth: int | None,
        ridge: float,
        fitted: int | None,
        shard: Shard,
    ) -> None:
        self.rows: dict[int, Row] = {}
        self.depth = depth or len(plain)
        self._trajectory, self._plain, self._motion = trajectory, plain, motion
        self._ridge, self._fitted, self._shard = ridge, fitted, shard

    def row(self, computed: list[int], step: int) -> np.ndarray:
        if step not in self.rows:
            weights = self._solve(computed, step)
            self.rows[step] = Row(
                target=step, computed=tuple(computed), weights=tuple(weights.tolist())
            )
        return np.array(self.rows[step].weights)

    def _solve(self, computed: list[int], step: int) -> np.ndarray:
        keep, move = self._motion.keep[step], self._motion.move[step]
        plain, sample = self._plain[step + 1], self._trajectory.samples[step]
        away = (plain.double() - keep * sample.double())[: self._fitted]
        guided = [self._trajectory.guided[c][: self._fitted].double() for c in computed]

        def normal_and_aim(part: slice) -> np.ndarray:
            past = torch.stack([each[part].flatten() for each in guided])
            normal, aim = move**2 * (past @ past.T), move * (past @ away[part].flatten())
            return np.column_stack([normal.numpy(), aim.numpy()])

        sums = self._shard.sum(normal_and_aim)
        weights, _ = solve(sums[:, :-1], sums[:, -1], self._ridge)
        return weights


class _FittedOnTheWay(LinearPredictor):
    """The rows of a run, solved as it comes to them."""

    fitter: SkipValidation[Any]

    @property
    def depth(self) -> int:
        return int(self.fitter.depth)

    @property
    def fitted(self) -> bool:
        return True

    def weights(self, computed: Sequence[Step], target: Step) -> np.ndarray:
        row: np.ndarray = self.fitter.row([step.index for step in computed], target.index)
        return row
