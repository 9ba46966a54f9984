"""Recording: what plain runs of a pipeline show, summed over prompts."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
from torch import Tensor

from forecastcache.calibration.displaced import computed_count
from forecastcache.calibration.experts import branch_shares, outputs_of, same_guidance
from forecastcache.calibration.gram import GramSum
from forecastcache.calibration.sampler import Motion, MotionSum
from forecastcache.calibration.subset import Subset
from forecastcache.engine.attach import attach, denoisers
from forecastcache.engine.caller import BESIDE
from forecastcache.engine.report import CallRecord
from forecastcache.errors import CalibrationError
from forecastcache.predictors.reuse import Reuse
from forecastcache.sampling.trajectory import Trajectory, trajectory_of
from forecastcache.schedule import Every

SAME_OUTPUT = 1e-3  # relative difference of inner products that a cast to bfloat16 may make


@dataclass(frozen=True)
class Recording:
    """Sums over plain runs; the recordings of two sets of prompts add up to that of both.

    Attributes:
        times: times of the steps, as the model is given them, `(T,)`.
        gram: Gram matrix of the guided outputs, `(T, T)`.
        branches: Gram matrices of what the model returned at each call of a step,
            `(branches, T, T)`.
        products: inner products of x_s and g_s, those of the steps before, and x_{s+1}, as
            `MotionSum` has them, `(T, n, n)`.
        prompts: number of prompts that were sampled.
        elements: number of elements that were looked at in all their samples.
        precision: relative precision of the samples as the pipeline held them.
        sample_elements: number of elements of one whole sample; None in files of older versions.
        displacements: the same products of the difference of an accelerated run from the plain
            one, where plain runs alone do not explain how the samples move, `(T, n, n)`.
        shares: factors of the branches in the guided output of each step, where two models take
            turns, `(T, branches)`; not kept in a file, since rows that are fitted need none.
    """

    times: np.ndarray
    gram: np.ndarray
    branches: np.ndarray
    products: np.ndarray
    prompts: int
    elements: int
    precision: float
    sample_elements: int | None = None
    displacements: np.ndarray | None = None
    shares: np.ndarray | None = None

    def __add__(self, other: Recording) -> Recording:
        """Raises CalibrationError: they are of other steps, times or branches."""
        alike = self.branches.shape == other.branches.shape
        alike &= self.sample_elements == other.sample_elements
        alike &= same_guidance(self.shares, other.shares)
        if not (alike and np.allclose(self.times, other.times, rtol=1e-6)):
            raise CalibrationError(
                "two prompts ran over different sizes, steps, times or branches of guidance: "
                "calibrate with one size, one number of steps and one guidance"
            )
        return Recording(
            self.times,
            self.gram + other.gram,
            self.branches + other.branches,
            self.products + other.products,
            self.prompts + other.prompts,
            self.elements + other.elements,
            max(self.precision, other.precision),
            self.sample_elements,
            shares=self.shares,
        )

    @property
    def steps(self) -> int:
        """Number of steps of a trajectory, T."""
        return len(self.times)

    @property
    def evaluations(self) -> int:
        """Steps that the network computed to make it, for one sample each."""
        displaced = 0 if self.displacements is None else computed_count(self.steps)
        return self.prompts * (self.steps + displaced)

    @property
    def guided_outside(self) -> bool:
        """Whether the scheduler is given something else than the model's whole output.

        So it is where guidance joins two outputs outside the network, and where the pipeline
        takes a part of the output.
        """
        alone = len(self.branches) == 1
        return not (alone and np.allclose(self.branches[0], self.gram, rtol=SAME_OUTPUT))

    @cached_property
    def motion(self) -> Motion:
        """How the sampler moves."""
        plain = MotionSum.of(self.products).motion(self.elements, self.precision)
        if plain.is_linear or self.displacements is None:
            return plain
        moved, sizes = MotionSum.of(self.displacements), self.products[:, -1, -1]
        return moved.motion(self.elements, self.precision, sizes)


def record(
    pipe: Any,
    run: Callable[[], object],
    prompts: int,
    subset: Subset = Subset(),  # noqa: B008  # frozen
) -> tuple[Recording, Trajectory]:
    """Sample plainly and take notes.

    Args:
        pipe: a diffusers pipeline with nothing attached.
        run: function that has it sample `prompts` prompts in one batch.
        prompts: number of prompts.
        subset: elements to look at.

    Returns:
        The recording, and the trajectory of the samples, `(prompts, elements)` each.

    Raises:
        CalibrationError: the model computed NaN or infinity, guidance changes during the run, or
            another network answers beside the model.
    """
    models, _ = denoisers(pipe)
    _require_all_forecast(pipe)
    numbers, outputs = list[int](), list[Tensor]()

    def watch(number: int, output: Tensor) -> None:
        numbers.append(number)
        outputs.append(output)

    # A session that computes every step changes nothing, and tells steps and branches apart.
    with (
        outputs_of(models, subset, watch),
        attach(pipe, Every(1), Reuse()) as session,
        trajectory_of(pipe, prompts, subset.of) as trajectory,
    ):
        run()
        calls = session.calls
    times = _times(calls)
    branches = _by_branch(calls, outputs, len(times))
    motion = MotionSum(len(times))
    motion.observe(trajectory.samples, trajectory.guided)
    recording = Recording(
        times=np.array(times),
        gram=_gram(trajectory.guided),
        branches=np.stack([_gram(branch) for branch in branches]),
        products=motion.products,
        prompts=prompts,
        elements=trajectory.samples[0].numel(),
        precision=trajectory.precision,
        sample_elements=trajectory.elements,
        shares=_shares(calls, numbers, branches, trajectory) if len(models) > 1 else None,
    )
    return recording, trajectory


def _require_all_forecast(pipe: Any) -> None:
    """Refuse a network that answers beside those that are forecast.

    Raises:
        CalibrationError: naming it.
    """
    beside = next((name for name in BESIDE if getattr(pipe, name, None) is not None), None)
    if beside is not None:
        raise CalibrationError(
            f"{type(pipe).__name__} has an {beside} that answers beside its transformer and is "
            "not forecast, so rows cannot be fitted to both: use a predictor that needs none"
        )


def _times(calls: Sequence[CallRecord]) -> list[float]:
    """The time of each step; no branch need be called at all of them."""
    return list({call.step.index: call.step.time for call in calls}.values())


def _by_branch(
    calls: Sequence[CallRecord], outputs: Sequence[Tensor], steps: int
) -> list[list[Tensor]]:
    """The outputs of each branch of guidance, step by step.

    Raises:
        CalibrationError: a branch was not called at every step.
    """
    found: dict[int, list[Tensor]] = {}
    for call, output in zip(calls, outputs, strict=True):
        found.setdefault(call.branch, []).append(output)
    fewest = min(map(len, found.values()))
    if fewest < steps:
        raise CalibrationError(
            f"guidance changes during the run: a branch of it was called at {fewest} of {steps} "
            "steps; calibrate with the same guidance at every step, or use a predictor that "
            "needs no calibration"
        )
    return [found[branch] for branch in sorted(found)]


def _shares(
    calls: Sequence[CallRecord],
    numbers: Sequence[int],
    branches: Sequence[Sequence[Tensor]],
    trajectory: Trajectory,
) -> np.ndarray | None:
    """Factors of the branches at each step, where the models were called in these numbers."""
    if len(branches) == 1:
        return None
    answering = {call.step.index: number for call, number in zip(calls, numbers, strict=True)}
    return branch_shares([*answering.values()], branches, trajectory.guided)


def _gram(features: Sequence[Tensor]) -> np.ndarray:
    gathered = GramSum(len(features))
    for feature in features:
        gathered.observe(feature)
    gathered.close()
    return gathered.matrix
