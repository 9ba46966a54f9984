"""Fewer steps: what a pipeline makes of as many steps as are computed, asked for no more.

Where a run has few steps, or few of them are computed, that may be as near to the plain run as
forecasts are.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from statistics import mean

from forecastcache.accelerated.call import LISTS_OF_NUMBERS, Call, twin
from forecastcache.calibration.fits import decibels
from forecastcache.calibration.subset import Subset
from forecastcache.sampling.trajectory import Trajectory, trajectory_of

DOUBTFUL = 30.0  # latent PSNR in dB, below which a fit is held against fewer steps


@dataclass(frozen=True)
class BesideFewerSteps:
    """A fit beside a pipeline that is asked for as many steps as the fit computes.

    Attributes:
        count: number of steps.
        total: number of steps of the plain run.
        rolled_db: latent PSNR of the fit to the plain run in dB, as rolled.
        own_db: that of the pipeline's run of `count` steps, on the same samples.
    """

    count: int
    total: int
    rolled_db: float
    own_db: float

    def __str__(self) -> str:
        return (
            f"{self.count} of {self.total} computed steps end {self.rolled_db:.1f} dB from the "
            f"plain run, and a plain run of {self.count} {self.own_db:.1f} dB"
        )

    @property
    def advice(self) -> str | None:
        """What to do where forecasts are no nearer than fewer steps; None where they are."""
        if self.rolled_db > self.own_db:
            return None
        return (
            f"forecasting is not worth it here: {self}; make plain runs of {self.count}, or "
            "compute more of them"
        )


def psnr_of_fewer_steps(
    calls: Sequence[Call], plain: Sequence[Trajectory], count: int, subset: Subset
) -> float | None:
    """The latent PSNR in dB of calls made with `count` steps to their plain runs, mean of samples.

    Args:
        calls: the calls.
        plain: their plain runs.
        count: number of steps to ask for.
        subset: elements that are looked at.

    Returns:
        None where a call says its steps otherwise than by their number, or NaN came of it.
    """
    found: list[float] = []
    for call, seen in zip(calls, plain):
        if any(call.arguments.get(name) is not None for name in LISTS_OF_NUMBERS):
            return None
        own = twin(call.pipe)
        with trajectory_of(own, call.samples, subset.of) as trajectory:
            call.again(own, num_inference_steps=count)
        missed = trajectory.samples[-1].double() - seen.samples[-1].double()
        found += missed.square().mean(1).tolist()
    return mean(map(decibels, found)) if all(map(math.isfinite, found)) else None
