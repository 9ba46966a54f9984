"""Rolling: the calibration samples sent through the accelerated sampler, again and again.

All samples roll in lock step. At a forecast step s the row is the one whose forecast lands them
best on the plain trajectories at the end, if every later answer is the plain one:

    w_s = argmin E |sum_k p_{s,k} d_{s-k} + sum_{k>0} q_{s,k} e_{s-k}
                    + q_{s,0} (sum_c w_c g~_c - g_s)|^2 + ridge |w|^2

over the computed steps c, with g~ of the accelerated run, d and e the displacements of its samples
and outputs from the plain run's, and p and q what these come to at the end by the sampler's own
recursion. For a sampler of first order that is the landing of the step itself,
x_{s+1} - a_s x~_s - b_s sum_c w_c g~_c. Then the samples move by it, and the next row makes up for
what this one has missed. Nothing is fitted at computed steps.

At `site="output"`, a row over past outputs inside a linear sampler is a non-stationary linear
multistep method: learned solvers (BNS, 2403.01329; S4S, 2502.17423) train the same numbers
by gradient descent through the sampler.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from typing import Any, TypeAlias

import numpy as np
import torch
from torch import Tensor

from forecastcache.calibration.distributed import Shard
from forecastcache.calibration.experts import JoinedAs
from forecastcache.calibration.gram import RIDGE, least_weights
from forecastcache.calibration.lock_step import JoinedTrajectory, LockStep
from forecastcache.calibration.microbatch import in_microbatches
from forecastcache.calibration.on_the_way import FittedOnTheWay
from forecastcache.calibration.output_cache import OutputCache, Outputs, played_back
from forecastcache.calibration.sampler import LAGS, ROUNDINGS, UNREAD, Motion
from forecastcache.calibration.subset import Subset
from forecastcache.engine.attach import attach, denoisers
from forecastcache.errors import CalibrationError
from forecastcache.predictors.learned import Learned
from forecastcache.predictors.row import Row
from forecastcache.registry import adapter_for
from forecastcache.sampling.trajectory import Trajectory, trajectory_of
from forecastcache.schedule import Listed

TINY = 1e-20
Followed: TypeAlias = Trajectory | JoinedTrajectory
SAME_NOISE = 1e-3  # of a sample: far below what any sampler's noise moves it by


@dataclass(frozen=True)
class Rollout:
    """A roll through the accelerated sampler.

    Attributes:
        computed: computed steps.
        rows: rows, one for each forecast step.
        samples: samples x~_0 to x~_T, `(samples, elements)` each.
        guided: guided outputs at the computed steps, likewise.
        outputs: what the model returned, and where.
    """

    computed: tuple[int, ...]
    rows: tuple[Row, ...]
    samples: Sequence[Tensor]
    guided: Sequence[Tensor]
    outputs: Outputs

    @property
    def final(self) -> Tensor:
        """Samples that it ended at."""
        return self.samples[-1]


@dataclass(frozen=True)
class Rolls:
    """The calibration samples of one size, as one batch.

    Attributes:
        pipe: a diffusers pipeline.
        run: function that has it sample all of them, as one batch or in lock step.
        plain: what was looked at of x_0 to x_T, sampled plainly, `(samples, elements)` each.
        motion: motion of the sampler, a linear one.
        guided: what was looked at of the plain guided outputs g_0 to g_{T-1}, likewise; empty
            where `plain` tells them, as it does of a sampler of first order; they take as much
            memory as `plain`.
        shard: share of all processes' samples that these are; None for all there are.
        subset: elements that are looked at.
        depth: number of newest computed steps that rows read; None for all.
        ridge: ridge as a part of the mean diagonal.
        lock_step: calls that the samples are of; None where they are one batch.
        shares: factors of the branches in guided outputs, where two models take turns.
    """

    pipe: Any
    run: Callable[[], object]
    plain: Sequence[Tensor]
    motion: Motion
    guided: Sequence[Tensor] = ()
    shard: Shard | None = None
    subset: Subset = Subset()  # noqa: RUF009  # frozen
    depth: int | None = None
    ridge: float = RIDGE
    lock_step: LockStep | None = None
    shares: np.ndarray | None = None
    _evaluated: list[int] = field(default_factory=list)

    @property
    def share(self) -> Shard:
        """The share, given or whole."""
        return self.shard or Shard.whole(len(self.plain[0]))

    @property
    def evaluations(self) -> int:
        """Steps that the network has computed for these samples, counted for one sample each."""
        return sum(self._evaluated)

    def fitted(
        self,
        computed: Sequence[int],
        on: Tensor | None = None,
        cache: OutputCache | None = None,
    ) -> Rollout:
        """Fit the rows of one schedule on the way (closed loop).

        Args:
            computed: computed steps, rising from 0.
            on: which samples they are fitted to, `(samples,)` of bool; None for all.
            cache: outputs of other rolls of the same samples, fitted to the same ones.
        """
        cache = cache or OutputCache(room=0)
        missed = cache.misses
        with self._trajectory() as trajectory:
            fitter = _RowFitter(self, trajectory, on)
            place = self._place_in(trajectory)
            with (
                cache.serving(self._models, computed, place) as outputs,
                fitter.joined.watching(self._models, self.subset, place),
                attach(self.pipe, Listed(computed), FittedOnTheWay(fitter=fitter)),
            ):
                self.run()
        rows = tuple(fitter.rows.values())
        return self._rollout(trajectory, computed, rows, outputs, cache.misses - missed)

    def replayed(
        self, computed: Sequence[int], rows: Sequence[Row], known: Outputs | None = None
    ) -> Rollout:
        """Roll with rows that are given.

        Args:
            computed: computed steps, rising from 0.
            rows: one for each forecast step.
            known: what the model returns at some of its calls, which are then spared.
        """
        known = known or {}
        with (
            self._trajectory() as trajectory,
            played_back(self._models, known, self._place_in(trajectory)) as outputs,
            attach(self.pipe, Listed(computed), Learned(rows)),
        ):
            self.run()
        called = sum(place not in known for place in outputs)
        return self._rollout(trajectory, computed, tuple(rows), outputs, called)

    def missed(self, final: Tensor) -> Tensor:
        """Squared distance of each sample from the plain one, for one element, `(samples,)`."""
        return (final - self.plain[-1]).double().square().mean(1).clamp(min=TINY)

    def plain_guided(self, step: int) -> Tensor:
        """Guided output of one step of the plain run, `(samples, elements)`, float64."""
        if self.guided:
            return self.guided[step].double()
        return self.motion.guided(self.plain, step)

    @property
    def _models(self) -> list[torch.nn.Module]:
        return denoisers(self.pipe)[0]

    def together(self, solve: Callable[[], None]) -> None:
        """Solve once all samples are there."""
        if self.lock_step is None:
            solve()
        else:
            self.lock_step.together(solve)

    def _place_in(self, trajectory: Followed) -> Callable[[], tuple[int, int]]:
        """What tells the number of the call under way, and that of the steps it has made."""
        if isinstance(trajectory, Trajectory):
            return lambda: (0, len(trajectory.guided))
        lock_step = self.lock_step
        assert lock_step is not None
        return lambda: (lock_step.now, len(trajectory.each[lock_step.now].guided))

    @contextmanager
    def _trajectory(self) -> Iterator[Followed]:
        with ExitStack() as held:
            if self.lock_step is not None:
                yield held.enter_context(self.lock_step.trajectory(self.subset.of))
                return
            if len(self.share.sizes) > 1:
                adapter = adapter_for(self._models[0])
                held.enter_context(in_microbatches(self._models, adapter, self.share.sizes))
            followed = trajectory_of(self.pipe, len(self.plain[0]), self.subset.of)
            yield held.enter_context(followed)

    def _rollout(
        self,
        trajectory: Followed,
        computed: Sequence[int],
        rows: tuple[Row, ...],
        outputs: Outputs,
        called: int,
    ) -> Rollout:
        if self.motion.noisy:
            self._require_same_noise(trajectory.samples[1])
        all_steps = len(computed) * len(self.plain[0])
        self._evaluated.append(all_steps * called // max(1, len(outputs)))
        guided = [trajectory.guided[step] for step in computed]
        return Rollout(tuple(computed), rows, trajectory.samples, guided, outputs)

    def _require_same_noise(self, first: Tensor) -> None:
        """Refuse noise that is not the plain run's, by x_1, which no forecast has moved.

        Raises:
            CalibrationError: it is another.
        """
        size, away = self.plain[1].norm(), (first - self.plain[1]).norm()
        if away > max(SAME_NOISE, ROUNDINGS * self.motion.precision) * size:
            raise CalibrationError(
                f"the noise of {type(self.pipe.scheduler).__name__} depends on how samples lie in "
                "batches: record all in one (--micro-batch), or take a scheduler whose step takes "
                "random generators"
            )


class _RowFitter:
    """Solves the row of the step that a run has come to, once for all its branches."""

    def __init__(self, rolls: Rolls, trajectory: Followed, on: Tensor | None) -> None:
        self.rows: dict[int, Row] = {}
        self.depth = rolls.depth or len(rolls.plain)
        self.joined = JoinedAs(rolls.shares, lambda: trajectory.guided)
        self._rolls, self._trajectory = rolls, trajectory
        self._on = torch.ones(len(rolls.plain[0]), dtype=torch.bool) if on is None else on

    def row(self, computed: list[int], step: int) -> np.ndarray:
        if step not in self.rows:
            self._rolls.together(lambda: self._keep(computed, step))
        return np.array(self.rows[step].weights)

    def _keep(self, computed: list[int], step: int) -> None:
        weights = self._solve(computed, step)
        self.rows[step] = Row(
            target=step, computed=tuple(computed), weights=tuple(weights.tolist())
        )

    def _solve(self, computed: list[int], step: int) -> np.ndarray:
        guided = [self.joined.guided(c, step) for c in computed]
        wanted = self._wanted(step)

        def normal_and_aim(part: slice) -> np.ndarray:
            on = self._on[part]
            past = torch.stack([each[part][on].flatten() for each in guided])
            normal, aim = past @ past.T, past @ wanted[part][on].flatten()
            return np.column_stack([normal.numpy(), aim.numpy()])

        sums = self._rolls.share.sum(normal_and_aim)
        return least_weights(sums[:, :-1], sums[:, -1], self._rolls.ridge)

    def _wanted(self, step: int) -> Tensor:
        """The answer that ends at the plain samples, if later ones are the plain run's."""
        rolls, seen = self._rolls, self._trajectory
        samples, outputs = (each[step] for each in rolls.motion.carried)
        wanted = rolls.plain_guided(step)
        if abs(outputs[0]) <= UNREAD * np.abs(rolls.motion.sensitivity).max():
            return wanted
        for lag in range(min(step + 1, LAGS)):
            if samples[lag]:
                moved = seen.samples[step - lag].double() - rolls.plain[step - lag].double()
                wanted = wanted - samples[lag] / outputs[0] * moved
            if lag and outputs[lag]:
                missed = seen.guided[step - lag].double() - rolls.plain_guided(step - lag)
                wanted = wanted - outputs[lag] / outputs[0] * missed
        return wanted
