"""Fits: what a calibration holds for each size of the samples."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from pydantic import BaseModel, ConfigDict, FiniteFloat

from forecastcache.calibration.recording import Recording
from forecastcache.predictors.row import Row

RANGE = 2.0


class Fit(BaseModel):
    """The rows of one schedule, fitted in closed loop.

    Attributes:
        computed: computed steps.
        rows: rows, one for each forecast step.
        latent_psnr_db: PSNR of the final latents to the plain ones in dB, data range 2, on prompts
            held out while rows of the same schedule were fitted to the others; these rows are
            fitted to all.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")
    computed: tuple[int, ...]
    rows: tuple[Row, ...]
    latent_psnr_db: FiniteFloat


@dataclass(frozen=True)
class SizeFits:
    """What was learned at one size of the samples, and so at one set of step times.

    Attributes:
        name: name of the size, such as 1024x1024.
        recording: sums over the plain runs, from which any schedule is fitted in open loop.
        fits: schedules fitted in closed loop.
    """

    name: str
    recording: Recording
    fits: tuple[Fit, ...] = ()

    def fit(self, computed: Sequence[int]) -> Fit | None:
        """The fit of these computed steps; None if there is none."""
        return next((fit for fit in self.fits if fit.computed == tuple(computed)), None)


def decibels(error: float) -> float:
    """A mean squared error as PSNR in dB; data range 2, that of pictures in [-1, 1]."""
    return 10 * math.log10(RANGE**2 / max(error, 1e-20))
