"""Displaced: an accelerated run beside the plain one, to see how a sampler moves what has moved.

Where a sampler draws noise, plain runs do not tell how it moves the samples. An accelerated run of
the same seeds has the same noise, which cancels in the difference of the two.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from torch import Tensor

from forecastcache.calibration.sampler import MotionSum
from forecastcache.calibration.subset import Subset
from forecastcache.engine.attach import attach
from forecastcache.predictors.reuse import Reuse
from forecastcache.sampling.trajectory import trajectory_of
from forecastcache.schedule import Warped

SHARE = 4  # one of so many steps is computed: few enough that the samples move well above rounding


def computed_count(steps: int) -> int:
    """Number of steps that the accelerated run computes, of so many."""
    return max(1, steps // SHARE)


def displacements(
    pipe: Any,
    run: Callable[[], object],
    samples: Sequence[Tensor],
    guided: Sequence[Tensor],
    subset: Subset,
) -> np.ndarray:
    """Inner products of how an accelerated run differs from a plain one, `(T, n, n)`.

    Args:
        pipe: a diffusers pipeline with nothing attached.
        run: function that has it sample as it did plainly, by the same seeds.
        samples: x_0 to x_T of the plain run, `(prompts, elements)` each.
        guided: g_0 to g_{T-1} of it, likewise.
        subset: elements that are looked at.
    """
    schedule = Warped(computed_count(len(guided)))
    with (
        trajectory_of(pipe, len(samples[0]), subset.of) as moved,
        attach(pipe, schedule, Reuse()),
    ):
        run()
    found = MotionSum(len(guided))
    found.observe(_differences(moved.samples, samples), _differences(moved.guided, guided))
    return found.products


def _differences(some: Sequence[Tensor], others: Sequence[Tensor]) -> list[Tensor]:
    return [a.double() - b.double() for a, b in zip(some, others)]
