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
from forecastcache.accelerated.call import Call, twin
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
from forecastcache.calibration.schedule_search import Steps
from forecastcache.calibration.subset import Subset
from forecastcache.calibration.targets import FOLDS
from forecastcache.errors import CalibrationError
from forecastcache.sampling.request import guidance_argument
from forecastcache.sampling.trajectory import Trajectory

FEW = 3  # schedules to try at one count, where others may have to be tried


@dataclass
class Learning:
    """The recorded calls of one scope.

    Attributes:
        pipe: a diffusers pipeline.
        subset: elements of each sample that are looked at.
        calls: the calls.
        recording: sums over all of them; None before the first.
        spent: evaluations of the network that the newest fit took, for one sample each.
    """

    pipe: Any
    subset: Subset
    calls: list[Call] = field(default_factory=list)
    recording: Recording | None = None
    spent: int = 0
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
            CalibrationError: nothing was recorded, the sampler is none that closed loop can serve,
                or `cost` does not allow a single schedule.
        """
        if self.recording is None:
            raise CalibrationError("nothing was recorded: make some pictures first")
        with prompts_encoded_once(self.pipe):
            recording = self._with_motion(self.recording)
            identity = self._identity(recording)
            recording.motion.require_linear(identity.scheduler.name)
            fitter = self._fitter(recording)
            known = () if before is None else before.sizes[0].fits
            bound = cost * recording.steps * self.samples
            fits = self._fits(fitter, goal, bound, progress, known)
        self.spent = fitter.rolls.evaluations
        size = SizeFits(self._size, recording, tuple(fits))
        return Calibration(identity, (size,), versions())

    def _fits(
        self,
        fitter: SizeFitter,
        goal: Goal,
        bound: float,
        progress: Progress,
        before: Sequence[Fit],
    ) -> list[Fit]:
        fits = {len(fit.computed): fit for fit in sorted(before, key=lambda fit: fit.figure)}
        nearby: dict[Steps, float] = {}
        total = fitter.recording.steps
        while (count := goal.next_count(fits, total)) is not None:
            left = bound - fitter.rolls.evaluations
            judging = min(FOLDS, self.samples) if self.samples > 1 else 0
            tries = int(left // (count * self.samples)) - judging
            if tries < 1:
                if fits:
                    break
                raise CalibrationError(
                    f"a fit of {count} of {total} steps takes {count * (judging + 1) / total:.1f} "
                    "plain runs at least: allow as many by fit_cost, or compute fewer steps"
                )
            if goal.psnr is not None:
                tries = min(tries, max(FEW, tries // 2))
            known = list(fits.values())
            errors: dict[Steps, float] = {}
            found = fitter.search(count, tries, known, nearby, {}, errors.__setitem__, progress)
            fits[count] = fitter.fit(found.computed, refine=False, tick=progress)
            nearby = errors or nearby
        return list(fits.values())

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
        scale = call.arguments.get(guidance_argument(self.pipe, call.arguments))
        eta = float(call.arguments.get("eta") or 0.0)
        second = call.arguments.get("guidance_scale_2")
        second = None if second == scale else second
        found = Identity.of(self.pipe, recording.steps, None, eta, second)
        if scale is None or not recording.guided_outside:
            return found
        return found.model_copy(update={"guidance": float(scale)})

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
