"""Fits: what a calibration holds for each size of the samples, or each guidance scale."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field, FiniteFloat

from forecastcache.calibration.recording import Recording
from forecastcache.predictors.row import Row

RANGE = 2.0


class Fit(BaseModel):
    """The rows of one schedule, fitted in closed loop.

    Attributes:
        computed: computed steps.
        rows: rows, one for each forecast step, fitted to all samples.
        latent_psnr_db: PSNR of the final latents to the plain ones in dB, data range 2, mean over
            samples; each was rolled with rows that were fitted without its quarter of them. None
            where there was a single sample.
        fitted_latent_psnr_db: the same of the rows that are kept, on the samples that they were
            fitted to.
        response: at each computed step, for one element of a sample, |d|^2, <d, r> and |r|^2 of
            the displacement d of the sample from the plain one and what the network's answer
            moved by, r.
        evaluations: steps that the network computed to find and to fit it, for one sample each.
        unrolled_gap_db: PSNR that came, on all samples, of what would be offered of so many steps
            if this count had not been rolled, less what was simulated of it, in dB. None where
            nothing else was rolled.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")
    computed: tuple[int, ...]
    rows: tuple[Row, ...]
    latent_psnr_db: FiniteFloat | None
    fitted_latent_psnr_db: FiniteFloat
    response: tuple[tuple[FiniteFloat, FiniteFloat, FiniteFloat], ...]
    evaluations: Annotated[int, Field(ge=0)]
    unrolled_gap_db: FiniteFloat | None = None

    @property
    def figure(self) -> float:
        """The PSNR in dB that it is chosen by: judged, or as fitted where nothing could judge."""
        judged = self.latent_psnr_db
        return self.fitted_latent_psnr_db if judged is None else judged


@dataclass(frozen=True)
class SizeFits:
    """What was learned at one size of the samples, and so at one set of step times.

    Where a calibration is of several guidance scales, it is what was learned at one of them.

    Attributes:
        name: name of the size, such as 1024x1024, and of the scale where there are several.
        recording: sums over the plain runs, from which any schedule is fitted in open loop.
        fits: schedules fitted in closed loop.
        guidance: guidance scale that was asked for, where the calibration is of several.
    """

    name: str
    recording: Recording
    fits: tuple[Fit, ...] = ()
    guidance: float | None = None

    def fit(self, computed: Sequence[int]) -> Fit | None:
        """The fit of these computed steps; None if there is none."""
        return next((fit for fit in self.fits if fit.computed == tuple(computed)), None)


def decibels(error: float) -> float:
    """A mean squared error as PSNR in dB; data range 2, that of pictures in [-1, 1]."""
    return 10 * math.log10(RANGE**2 / max(error, 1e-20))
