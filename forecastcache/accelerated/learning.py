"""Learning: calls that are made anyway, and the calibration that they come to."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from typing import Any

import numpy as np
import torch
from torch import Tensor

from forecastcache._util.progress import Progress
from forecastcache.accelerated.bounded import BoundedFits
from forecastcache.accelerated.call import Call, twin
from forecastcache.accelerated.fewer_steps import DOUBTFUL, BesideFewerSteps, psnr_of_fewer_steps
from forecastcache.accelerated.goal import Goal
from forecastcache.calibration.calibration import Calibration
from forecastcache.calibration.displaced import displacements
from forecastcache.calibration.distributed import Shard
from forecastcache.calibration.fit import SizeFitter
from forecastcache.calibration.fits import Fit, SizeFits
from forecastcache.calibration.identity import Identity, versions
from forecastcache.calibration.lock_step import LockStep, Sampled
from forecastcache.calibration.output_cache import OutputCache
from forecastcache.calibration.prompt_cache import prompts_encoded_once
from forecastcache.calibration.recording import Recording, record
from forecastcache.calibration.rolling import Rolls
from forecastcache.calibration.subset import Subset
from forecastcache.errors import CalibrationError
from forecastcache.sampling.request import guidance_argument
from forecastcache.sampling.trajectory import Trajectory


@dataclass
class Learning:
    """The recorded calls of one scope.

    Attributes:
        pipe: a diffusers pipeline.
        subset: elements of each sample that are looked at.
        calls: the calls.
        recording: sums over all of them; None before the first.
        spent: evaluations of the network that the newest fit took, for one sample each.
        fewer_steps: the newest fit beside fewer steps; None where it leaves no doubt.
    """

    pipe: Any
    subset: Subset
    calls: list[Call] = field(default_factory=list)
    recording: Recording | None = None
    spent: int = 0
    fewer_steps: BesideFewerSteps | None = None
    _plain: list[Trajectory] = field(default_factory=list)

    @property
    def samples(self) -> int:
        """Number of samples that were recorded."""
        return sum(call.samples for call in self.calls)

    def record(self, call: Call, make: Callable[[], Any]) -> None:
        """Make a call plainly, and take notes.

        Raises:
            CalibrationError: it cannot serve, though it was made.
        """
        recording, seen = record(self.pipe, make, call.samples, self.subset)
        self.recording = recording if self.recording is None else self.recording + recording
        self.calls.append(call)
        self._plain.append(seen)

    def fit(
        self, goal: Goal, cost: float, progress: Progress, before: Calibration | None = None
    ) -> Calibration:
        """Fit what a goal asks for, in lock step over the calls.

        Args:
            goal: goal to reach.
            cost: as many plain runs of every call as it may take.
            progress: called with (stage, done, of).
            before: what was fitted before in the same scope, which is kept.

        Raises:
            CalibrationError: nothing was recorded, no step is left to forecast, the sampler is
                none that closed loop can serve, or `cost` does not allow a single schedule.
        """
        if self.recording is None:
            raise CalibrationError("nothing was recorded: make some pictures first")
        total = self.recording.steps
        if goal.psnr is None and goal.count(total) == total:
            raise CalibrationError(
                f"{goal} computes all {total} steps, which leaves nothing to learn: ask for fewer"
            )
        with prompts_encoded_once(self.pipe):
            recording = self._with_motion(self.recording)
            identity = self._identity(recording)
            recording.motion.require_linear(identity.scheduler.name)
            fitter = self._fitter(recording)
            known = () if before is None else before.sizes[0].fits
            bounded = BoundedFits(fitter, cost * recording.steps, progress)
            fits = bounded.of(goal, known)
            self.spent = fitter.rolls.evaluations
            self.fewer_steps = self._held_against_fewer_steps(fits, goal, bounded.left)
        every = {fit.computed: fit for fit in (*known, *fits)}
        size = SizeFits(self._size, recording, tuple(every.values()))
        return Calibration(identity, (size,), versions())

    def _held_against_fewer_steps(
        self, fits: Sequence[Fit], goal: Goal, left: float
    ) -> BesideFewerSteps | None:
        """Where a fit ends far away and evaluations are left, what fewer steps come to."""
        if goal.psnr is not None or self.recording is None:
            return None
        total = self.recording.steps
        count = goal.count(total)
        fit = next(it for it in reversed(fits) if len(it.computed) == count)
        if fit.figure >= DOUBTFUL or count > left:
            return None
        own = psnr_of_fewer_steps(self.calls, self._plain, count, self.subset)
        self.spent += count * self.samples
        return None if own is None else BesideFewerSteps(count, total, fit.figure, own)

    def _with_motion(self, recording: Recording) -> Recording:
        """The recording, with displaced runs beside it where plain ones do not tell the motion."""
        if recording.motion.is_linear:
            return recording
        moved = []
        for call, plain in zip(self.calls, self._plain):
            own = twin(self.pipe)
            run = partial(call.again, own)
            moved.append(displacements(own, run, plain.samples, plain.guided, self.subset))
        return replace(recording, displacements=np.sum(moved, axis=0))

    def _identity(self, recording: Recording) -> Identity:
        call = self.calls[0]
        scale = call.arguments.get(guidance_argument(self.pipe, call.arguments, call.arguments))
        eta = float(call.arguments.get("eta") or 0.0)
        second = call.arguments.get("guidance_scale_2")
        found = Identity.of(self.pipe, recording.steps, scale, eta, second)
        if recording.guided_outside:
            return found
        return found.model_copy(update={"guidance": None})

    @property
    def _size(self) -> str:
        numbers = self.calls[0].numbers
        sides = [numbers.get(name) for name in ("height", "width")]
        return "x".join(map(str, sides)) if all(sides) else "the pipeline's own size"

    def _fitter(self, recording: Recording) -> SizeFitter:
        twins = [twin(self.pipe) for _ in self.calls]
        lock_step = LockStep(
            [
                Sampled(own, partial(call.again, own), call.samples)
                for call, own in zip(self.calls, twins)
            ]
        )
        counts = tuple(call.samples for call in self.calls)
        told = recording.motion.tells_outputs
        rolls = Rolls(
            pipe=self.pipe,
            run=lock_step.run,
            plain=_joined([it.samples for it in self._plain]),
            motion=recording.motion,
            shares=recording.shares,
            guided=[] if told else _joined([it.guided for it in self._plain]),
            shard=Shard(counts, len(counts)),
            subset=self.subset,
            lock_step=lock_step,
        )
        return SizeFitter(rolls, recording, torch.arange(sum(counts)), OutputCache())


def _joined(each: Sequence[Sequence[Tensor]]) -> list[Tensor]:
    """The tensors of each step, of all calls."""
    return [torch.cat(step) for step in zip(*each)]
