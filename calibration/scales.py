"""Scales: rows of several guidance scales, of which the scale of a run picks its own."""

from __future__ import annotations

import warnings
from collections.abc import Sequence

import numpy as np
from pydantic import model_validator
from typing_extensions import Self

from forecastcache.errors import CalibrationError, ForecastCacheWarning
from forecastcache.predictor import LinearPredictor, Need, Sampling
from forecastcache.predictors.learned import Learned
from forecastcache.predictors.row import Row
from forecastcache.step import Step

SAME_SCALE = 0.02  # of a guidance scale: how near one that is seen in bfloat16 comes to its own


class AcrossScales(LinearPredictor):
    """F^_s = (1 - m) F^_s by the rows of one guidance scale + m F^_s by those of the next.

    m is how far the scale of the run lies from the one to the other. The scale is not asked for
    but seen, at the first step of a run: see `Sampling.guidance`.

    Args:
        fits: rows over the same computed steps, one for each scale, at least two; the first serve
            where nothing tells the scale, as in a run of a bare model, which is warned of.
        scales: guidance scale of each, from 1 on, in any order.
    """

    fits: tuple[Learned, ...]
    scales: tuple[float, ...]

    @model_validator(mode="after")
    def _one_scale_each(self) -> Self:
        if not 2 <= len(self.fits) == len({*self.scales}) == len(self.scales):
            raise ValueError(
                f"there are {len(self.fits)} fits for the scales {self.scales}: give each fit a "
                "scale of its own, and two at least"
            )
        return self

    def __str__(self) -> str:
        return f"{self.fits[0]} at guidance {scales_in_words(self.scales)}"

    @property
    def depth(self) -> int:
        return max(fit.depth for fit in self.fits)

    @property
    def fitted(self) -> bool:
        return True

    @property
    def total(self) -> int | None:
        return self.fits[0].total

    @property
    def needs(self) -> frozenset[Need]:
        return frozenset({"sampling"})

    def check(self, total: int, computed: Sequence[int] | None) -> None:
        for fit in self.fits:
            fit.check(total, computed)

    def for_sampling(self, sampling: Sampling) -> Learned:
        return self.at(sampling.guidance)

    def weights(self, computed: Sequence[Step], target: Step) -> np.ndarray:
        if target.index == self.fits[0].last_target:
            warnings.warn(
                f"nothing tells the guidance of this run: the rows of {self.scales[0]:g} are "
                f"used, of {scales_in_words(self.scales)} that were calibrated",
                ForecastCacheWarning,
                stacklevel=2,
            )
        return self.fits[0].weights(computed, target)

    def at(self, scale: float | None) -> Learned:
        """The rows for a run of this scale: those of a fit, or a mixture of the two nearest.

        A mixture is warned of.

        Raises:
            CalibrationError: the scale is not known, or lies beyond those that were calibrated.
        """
        low, high = min(self.scales), max(self.scales)
        if scale is None:
            raise CalibrationError(
                f"the calibration is of guidance {scales_in_words(self.scales)}, but at which the "
                "pipeline combines its branches cannot be told: use a calibration of one scale"
            )
        if any(abs(scale - its) <= SAME_SCALE * its for its in self.scales):
            return self.nearest(scale)
        if not low <= scale <= high:
            raise CalibrationError(
                f"the calibration is of guidance {low:g} to {high:g}, but the pipeline combines "
                f"its branches at {scale:.3g}: ask the pipeline for {low:g} to {high:g}, or "
                f"calibrate at {scale:.3g} too"
            )
        return self._mixed(scale)

    def nearest(self, scale: float | None) -> Learned:
        """The rows of the nearest scale; the first where none is known."""
        if scale is None:
            return self.fits[0]
        return self.fits[int(np.abs(np.array(self.scales) - scale).argmin())]

    def _mixed(self, scale: float) -> Learned:
        """Rows of the scale below and of that above, weighted linearly in the scale."""
        rising = sorted(zip(self.scales, self.fits), key=lambda each: each[0])
        low, lower = [each for each in rising if each[0] < scale][-1]
        high, upper = next(each for each in rising if each[0] > scale)
        part = (scale - low) / (high - low)
        warnings.warn(
            f"guidance {scale:.3g} lies between those that were calibrated: the rows of {low:g} "
            f"and {high:g} are mixed",
            ForecastCacheWarning,
            stacklevel=4,
        )
        rows = [
            below.model_copy(update={"weights": _between(below, above, part)})
            for below, above in zip(lower.rows, upper.rows, strict=True)
        ]
        return lower.model_copy(update={"rows": tuple(rows)})


def scales_in_words(scales: Sequence[float]) -> str:
    """Guidance scales as messages list them: rising, each once."""
    return ", ".join(f"{scale:g}" for scale in sorted({*scales}))


def _between(below: Row, above: Row, part: float) -> tuple[float, ...]:
    mixed = (1 - part) * np.array(below.weights) + part * np.array(above.weights)
    return tuple(mixed.tolist())
