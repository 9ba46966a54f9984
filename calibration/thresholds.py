"""Thresholds: the one at which a schedule that decides as it runs computes so many steps."""

from __future__ import annotations

import math
import warnings
from typing import Any

from forecastcache._util.progress import Progress, silent
from forecastcache.bounds import shortened
from forecastcache.engine.attach import attach
from forecastcache.errors import ForecastCacheWarning, OptionError
from forecastcache.granularity import Granularity
from forecastcache.predictor import Predictor
from forecastcache.sampling.request import Request
from forecastcache.schedule import Schedule
from forecastcache.schedules.adaptive import Adaptive
from forecastcache.spec import parse_predictor, parse_schedule

NEAR = 0.5  # steps from what was asked
STRIDE = 4.0  # by which the threshold grows until the answer lies between two
DIGITS = 4  # of a threshold, that it may be written down
START = 0.1


def solve_threshold(
    pipe: Any,
    request: Request,
    schedule: Schedule | str,
    predictor: Predictor | str,
    computed: float,
    *,
    site: Granularity = "output",
    tries: int = 12,
    progress: Progress = silent,
) -> Schedule:
    """The schedule with the threshold at which it computes so many steps, in the mean.

    Found by bisection of its logarithm on calibration samples, each of which is run by itself at
    every try.

        schedule = fc.solve_threshold(pipe, request, "teacache", "taylor", computed=12)

    Args:
        pipe: a diffusers pipeline with nothing attached.
        request: calibration samples.
        schedule: schedule with a threshold, an object or its spec; where it takes something of
            the model, `fit_schedule` comes first.
        predictor: forecaster of the other steps, which decisions depend on.
        computed: mean number of computed steps that is asked for, over samples and branches.
        site: granularity of what is forecast.
        tries: thresholds that are tried, at most.
        progress: called with (stage, done, of) after every try.

    Returns:
        The schedule with the number in its `threshold`. Where no threshold tried comes within
        half a step of `computed` it is the nearest, and a warning says so.

    Raises:
        OptionError: the schedule has no threshold, or so many steps there are not.
    """
    schedule = parse_schedule(schedule) if isinstance(schedule, str) else schedule
    predictor = parse_predictor(predictor) if isinstance(predictor, str) else predictor
    adaptive = require_solvable(schedule, computed, request.steps)
    parts = request.split(pipe, 1)
    least = len(adaptive.always(request.steps))
    tried: dict[float, float] = {}
    low, high, threshold = 0.0, math.inf, adaptive.threshold or START
    for done in range(1, tries + 1):
        threshold = float(f"{threshold:.{DIGITS}g}")
        if threshold in tried:
            break
        trial = _with(adaptive, threshold)
        tried[threshold] = count = _mean_computed(pipe, parts, trial, predictor, site)
        progress("threshold", done, tries)
        if abs(count - computed) <= NEAR / 2 or computed < count == least:
            break
        low, high = (threshold, high) if count > computed else (low, threshold)
        threshold = _between(low, high)
    best = min(tried, key=lambda each: abs(tried[each] - computed))
    if abs(tried[best] - computed) > NEAR:
        warnings.warn(
            f"of {len(tried)} thresholds the nearest to {computed:g} computed steps is {best:g}, "
            f"with {tried[best]:g} in the mean: its guards or its rule allow no other number, or "
            "more tries are needed",
            ForecastCacheWarning,
            stacklevel=2,
        )
    return _with(adaptive, best)


def require_solvable(schedule: Schedule, computed: float, steps: int) -> Adaptive:
    """The schedule, if it has a threshold by which it may compute so many of `steps`.

    Raises:
        OptionError: it has none, or so many steps there are not.
    """
    if not isinstance(schedule, Adaptive):
        raise OptionError(
            f"{shortened(str(schedule))} has no threshold to solve for: give a schedule that "
            "decides as it runs, such as teacache"
        )
    if not 1 <= computed <= steps:
        raise OptionError(
            f"computed={computed:g} of {steps} steps cannot be: write a number from 1 to {steps}"
        )
    return schedule


def _between(low: float, high: float) -> float:
    """The next threshold to try: the geometric mean, or beyond the one end that is known."""
    if low == 0:
        return high / STRIDE
    return low * STRIDE if math.isinf(high) else math.sqrt(low * high)


def _with(schedule: Adaptive, threshold: float) -> Adaptive:
    return type(schedule)(**{**schedule.model_dump(), "threshold": threshold})


def _mean_computed(
    pipe: Any,
    parts: list[Request],
    schedule: Schedule,
    predictor: Predictor,
    site: Granularity,
) -> float:
    """Mean number of computed steps of a sample, over samples and branches."""
    counts = []
    for part in parts:
        with attach(pipe, schedule, predictor, site=site) as session:
            part.run(pipe)
            calls = session.calls
        counts.append(part.steps * sum(call.was_computed for call in calls) / len(calls))
    return sum(counts) / len(counts)
