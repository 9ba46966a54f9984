"""Several: the rows of every size, or of every guidance scale, as one predictor."""

from __future__ import annotations

from collections.abc import Sequence

from forecastcache.calibration.fits import SizeFits
from forecastcache.calibration.identity import as_seen
from forecastcache.calibration.interpolate import Interpolated
from forecastcache.calibration.scales import AcrossScales
from forecastcache.predictors.learned import Learned
from forecastcache.predictors.row import Row

Rows = Learned | Interpolated | AcrossScales


def joined(sizes: Sequence[SizeFits], rows: Sequence[Sequence[Row]]) -> Rows:
    """One predictor of the rows of each size.

    Those of several guidance scales are mixed by the scale of a run, others by its step times.

    Args:
        sizes: sizes, or guidance scales.
        rows: rows of one schedule at each of them.
    """
    times = [tuple(size.recording.times.tolist()) for size in sizes]
    scales = [as_seen(size.guidance) for size in sizes if size.guidance is not None]
    if len(sizes) == 1:
        return Learned(rows[0], times[0])
    if scales:
        fits = tuple(Learned(each, its) for each, its in zip(rows, times))
        return AcrossScales(fits=fits, scales=tuple(scales))
    rising = sorted(range(len(sizes)), key=lambda number: sum(times[number]))
    return Interpolated(
        fits=tuple(Learned(rows[number]) for number in rising),
        times=tuple(times[number] for number in rising),
    )
