"""Interpolated: rows at step times that lie between those that rows were fitted at."""

from __future__ import annotations

import warnings
from collections.abc import Sequence

import numpy as np

from forecastcache.errors import ForecastCacheWarning, TrajectoryError
from forecastcache.predictor import LinearPredictor
from forecastcache.predictors.learned import SAME, Learned
from forecastcache.step import Step


class Interpolated(LinearPredictor):
    """F^_s = (1 - m) F^_s by the rows of one fit + m F^_s by those of the next.

    A pipeline that shifts its noise levels with the size of the picture, as FLUX's does, meets
    other step times at every size, and rows change slowly with them. The times of the run say how
    far it lies between two fits. Beyond the first and the last, the nearer one serves.

    Args:
        fits: rows over the same computed steps, fitted at rising times; at least two.
        times: times of all steps, for each fit.
        tolerance: how far a time may lie from those fitted or interpolated, as a part of the
            range of times.
    """

    fits: tuple[Learned, ...]
    times: tuple[tuple[float, ...], ...]
    tolerance: float = 0.01

    def __str__(self) -> str:
        return f"{self.fits[0]} at {len(self.fits)} sets of times"

    @property
    def depth(self) -> int:
        return max(fit.depth for fit in self.fits)

    @property
    def fitted(self) -> bool:
        return True

    @property
    def total(self) -> int | None:
        return len(self.times[0])

    def check(self, total: int, computed: Sequence[int] | None) -> None:
        if total != self.total:
            raise TrajectoryError(
                f"these rows were fitted on {self.total} steps, but the trajectory has {total}: "
                f"ask the pipeline for {self.total} steps, or fit rows for {total}"
            )
        for fit in self.fits:
            fit.check(total, computed)

    def weights(self, computed: Sequence[Step], target: Step) -> np.ndarray:
        above, part = self._place([*computed, target])
        lower, upper = (fit.weights(computed, target) for fit in self.fits[above - 1 : above + 1])
        row: np.ndarray = (1 - part) * lower + part * upper
        return row

    def _place(self, steps: Sequence[Step]) -> tuple[int, float]:
        """The fit above the run's times, and how far from the one below it the run lies."""
        fitted = np.array(self.times)[:, [step.index for step in steps]]
        times = np.array([step.time for step in steps])
        widest = int(np.ptp(fitted, axis=0).argmax())
        column, time = fitted[:, widest], times[widest]
        above = int(np.clip(np.searchsorted(column, time), 1, len(column) - 1))
        low, high = column[above - 1 : above + 1]
        part = float(np.clip((time - low) / (high - low), 0, 1)) if high > low else 0.0
        range_ = np.ptp(self.times[0])
        missed = np.abs((1 - part) * fitted[above - 1] + part * fitted[above] - times).max()
        if not missed <= self.tolerance * range_:
            raise TrajectoryError(
                f"step {steps[widest].index} is at time {time:g}, but the rows were fitted at "
                f"{', '.join(f'{it:g}' for it in column)}: use the scheduler and a size between "
                "those calibrated, calibrate at this one, or raise their tolerance"
            )
        known = np.abs(fitted - times).max(axis=1).min() <= SAME * range_
        if not known and steps[-1].index == self.fits[0].last_target:
            warnings.warn(
                "the run's step times lie between those that were calibrated (another size?): "
                "the rows of the two nearest are mixed",
                ForecastCacheWarning,
                stacklevel=2,
            )
        return above, part
