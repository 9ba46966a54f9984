"""Recording: what plain runs of a pipeline show, summed over prompts."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
from torch import Tensor
from torch.utils import _pytree as pytree

from forecastcache.attachment import denoisers
from forecastcache.calibration.gram import GramSum
from forecastcache.calibration.sampler import Motion, MotionSum
from forecastcache.clock import Clock
from forecastcache.errors import CalibrationError
from forecastcache.history import is_feature
from forecastcache.host import Host
from forecastcache.patch import Forward
from forecastcache.registry import adapter_for
from forecastcache.track import tracked


@dataclass(frozen=True)
class Recording:
    """Sums over plain runs; the recordings of two sets of prompts add up to that of both.

    Attributes:
        times: of the steps, as the model is given them, `(T,)`.
        gram: of the guided outputs, `(T, T)`.
        branches: of what the model returned at each call of a step, `(branches, T, T)`.
        products: of (x_s, g_s, x_{s+1}), `(T, 3, 3)`.
        prompts: that were sampled.
        elements: numbers in all their samples.
        precision: of the samples as the pipeline held them, a part of their size.
    """

    times: np.ndarray
    gram: np.ndarray
    branches: np.ndarray
    products: np.ndarray
    prompts: int
    elements: int
    precision: float

    def __add__(self, other: Recording) -> Recording:
        """Raises CalibrationError: they are of other steps, times or branches."""
        alike = self.branches.shape == other.branches.shape
        if not (alike and np.allclose(self.times, other.times, rtol=1e-6)):
            raise CalibrationError(
                "two prompts ran over different steps, times or branches of guidance: calibrate "
                "with one size, one number of steps and one guidance"
            )
        return Recording(
            self.times,
            self.gram + other.gram,
            self.branches + other.branches,
            self.products + other.products,
            self.prompts + other.prompts,
            self.elements + other.elements,
            max(self.precision, other.precision),
        )

    @property
    def steps(self) -> int:
        """Of a trajectory, T."""
        return len(self.times)

    @cached_property
    def motion(self) -> Motion:
        """How the sampler moves."""
        return MotionSum.of(self.products).motion(self.precision)


def record(pipe: Any, run: Callable[[], object], prompts: int) -> tuple[Recording, list[Tensor]]:
    """Sample plainly and take notes.

    Args:
        pipe: a diffusers pipeline with nothing attached.
        run: has it sample `prompts` prompts in one batch.
        prompts: how many.

    Returns:
        The recording, and the samples x_0 to x_T.

    Raises:
        CalibrationError: the model computed NaN or infinity, or two models take turns.
    """
    models, _ = denoisers(pipe)
    if len(models) > 1:
        raise CalibrationError(
            f"{type(pipe).__name__} has two models that take turns: calibration of such is not "
            "built yet; use a predictor that needs none"
        )
    (model,) = models
    host = Host(model, adapter_for(model), "output")
    clock, times, outputs = Clock(pipe), [], list[list[Tensor]]()

    def call(forward: Forward, args: Any, kwargs: Any) -> Any:
        reading = host.read(args, kwargs)
        tick = clock.tick(reading.time, reading.sample)
        output = forward(*args, **kwargs)
        if tick.position == 0:
            times.append(reading.time)
        if tick.position == len(outputs):
            outputs.append([])
        outputs[tick.position].append(_first_tensor(output).detach().cpu())
        return output

    host.attach(call, "a recording")
    try:
        with tracked(pipe, prompts) as track:
            run()
    finally:
        host.detach()
    steps, motion = len(times), MotionSum(len(times))
    motion.observe(track)
    grams = [_gram(steps, features) for features in (track.guided, *outputs)]
    recording = Recording(
        np.array(times),
        grams[0],
        np.stack(grams[1:]),
        motion.products,
        prompts,
        track.samples[0].numel(),
        track.precision,
    )
    return recording, track.samples


def _gram(steps: int, features: list[Tensor]) -> np.ndarray:
    gathered = GramSum(steps)
    for feature in features:
        gathered.observe(feature)
    gathered.close()
    return gathered.matrix


def _first_tensor(output: Any) -> Tensor:
    tensor: Tensor = next(leaf for leaf in pytree.tree_leaves(output) if is_feature(leaf))
    return tensor
