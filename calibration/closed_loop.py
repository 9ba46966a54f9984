"""Closed loop: rows fitted where the accelerated sampler goes, not where the plain one went.

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
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from pydantic import SkipValidation
from torch import Tensor

from forecastcache.attachment import attach, denoisers
from forecastcache.calibration.gram import RIDGE, solve
from forecastcache.calibration.memo import Memo
from forecastcache.calibration.sampler import Motion
from forecastcache.calibration.team import Share
from forecastcache.predictor import LinearPredictor
from forecastcache.predictors.row import Row
from forecastcache.schedule import Listed
from forecastcache.step import Step
from forecastcache.track import Track, tracked

TINY = 1e-20


@dataclass(frozen=True)
class Rolled:
    """What a roll through the accelerated sampler found.

    Attributes:
        computed: the computed steps.
        rows: one for each forecast step.
        final: the samples it ended at.
        error: squared distance of them from the plain ones, a number; the geometric mean over
            samples, since it is mean PSNR by which samplers are compared.
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
    memo: Memo | None = None,
    share: Share | None = None,
) -> Rolled:
    """Fit the rows of one schedule in closed loop.

    Args:
        pipe: a diffusers pipeline.
        run: has it sample all calibration prompts, as one batch.
        plain: x_0 to x_T of the same prompts and seeds, sampled plainly.
        motion: of its sampler, of first order.
        computed: the computed steps, rising from 0.
        depth: newest computed steps that a row reads; None for all.
        ridge: as a part of the mean diagonal.
        fitted: samples, the first ones, that rows are fitted to; the error is that of the others.
            None fits to all and gives the error of all.
        memo: of other rolls of the same prompts with the same options.
        share: which of a team's prompts these are; None for all there are.
    """
    share = share or Share.whole(len(plain[0]))
    (model, *_), _ = denoisers(pipe)
    with tracked(pipe, len(plain[0])) as track:
        fitter = _Fitter(track, plain, motion, depth, ridge, fitted, share)
        remembering = (memo or Memo(room=0)).on(model, computed, lambda: len(track.guided))
        on_the_way = _OnTheWay(fitter=fitter)
        with remembering, attach(pipe, Listed(computed), on_the_way, site="output"):
            run()
        final = track.samples[-1]
    missed = (final - plain[-1]).double().square().flatten(1).mean(1).clamp(min=TINY).log()

    def judged(part: slice) -> np.ndarray:
        logs = missed[max(part.start, fitted or 0) : part.stop]
        return np.array([logs.sum().item(), len(logs)])

    total, count = share.total(judged)
    error = math.exp(total / count)
    return Rolled(tuple(computed), tuple(fitter.rows.values()), final, error)


class _Fitter:
    """Solves the row of the step that a run has come to, once for all its branches."""

    def __init__(
        self,
        track: Track,
        plain: Sequence[Tensor],
        motion: Motion,
        depth: int | None,
        ridge: float,
        fitted: int | None,
        share: Share,
    ) -> None:
        self.rows: dict[int, Row] = {}
        self.depth = depth or len(plain)
        self._track, self._plain, self._motion = track, plain, motion
        self._ridge, self._fitted, self._share = ridge, fitted, share

    def row(self, computed: list[int], step: int) -> np.ndarray:
        if step not in self.rows:
            weights = self._solve(computed, step)
            self.rows[step] = Row(
                target=step, computed=tuple(computed), weights=tuple(weights.tolist())
            )
        return np.array(self.rows[step].weights)

    def _solve(self, computed: list[int], step: int) -> np.ndarray:
        keep, move = self._motion.keep[step], self._motion.move[step]
        plain, sample = self._plain[step + 1], self._track.samples[step]
        away = (plain.double() - keep * sample.double())[: self._fitted]
        guided = [self._track.guided[c][: self._fitted].double() for c in computed]

        def normal_and_aim(part: slice) -> np.ndarray:
            past = torch.stack([each[part].flatten() for each in guided])
            normal, aim = move**2 * (past @ past.T), move * (past @ away[part].flatten())
            return np.column_stack([normal.numpy(), aim.numpy()])

        sums = self._share.total(normal_and_aim)
        weights, _ = solve(sums[:, :-1], sums[:, -1], self._ridge)
        return weights


class _OnTheWay(LinearPredictor):
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
