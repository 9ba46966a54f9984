"""Intervals: how far forecasts lie from the features of a plain run, as intervals grow.

Every forecast here is made from computed features of the plain run itself (open loop), so nothing
that an earlier forecast missed comes back: what is seen is the predictor alone. What becomes of a
sample whose sampler goes on from the forecasts is what `evaluate` measures.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

from torch import Tensor
from torch.linalg import vector_norm

from forecastcache.attachment import attach
from forecastcache.calibration.artifact import Calibration, Loop
from forecastcache.errors import OptionError
from forecastcache.evaluation.entries import Forecast
from forecastcache.history import History
from forecastcache.predictors.reuse import Reuse
from forecastcache.sampling import Request
from forecastcache.schedule import Every
from forecastcache.spec import parse, parse_schedule
from forecastcache.step import Step
from forecastcache.track import tracked

Row = dict[str, Any]


def at_intervals(
    intervals: Iterable[int],
    predictors: Sequence[str] = (),
    calibration: str | None = None,
    loops: Sequence[Loop] = ("open",),
) -> list[Forecast]:
    """Each predictor, and rows of a calibration, at schedules of even intervals.

    Args:
        intervals: steps from one computed step to the next; the first three are computed too.
        predictors: specs such as `taylor:order=2`.
        calibration: file, zoo:NAME or hub id, whose rows are fitted to each schedule.
        loops: in which they are fitted.

    Raises:
        ForecastCacheError: a spec is none, or the calibration has no such rows.
    """
    found = []
    schedules = {when: parse_schedule(when) for when in (f"every:{it}" for it in intervals)}
    for when, schedule in schedules.items():
        found += [Forecast(parse(spec), schedule, "output", spec, when) for spec in predictors]
    if calibration is None:
        return found
    learned = Calibration.load(calibration)
    for when, schedule in schedules.items():
        for loop in loops:
            rows, label = learned.predictor(schedule, loop), f"learned, {loop} loop"
            found.append(Forecast(rows, schedule, "output", label, when, learned.identity))
    return found


def open_loop(pipe: Any, request: Request, entries: Sequence[Forecast]) -> list[Row]:
    """Sample plainly, once, and forecast what the schedule of each entry leaves out.

    Features are what the pipeline hands its scheduler, so guidance has joined its branches.

    Args:
        pipe: a diffusers pipeline with nothing attached.
        request: what to ask it for; its samples are taken as one feature.
        entries: predictors at `site="output"`, with schedules that know their steps beforehand.

    Returns:
        A row for each entry, ready for JSON; see `of_features`.

    Raises:
        OptionError: an entry forecasts at another site, or by the grid of the image's tokens.
        ForecastCacheError: a predictor does not fit the trajectory.
    """
    for entry in entries:
        if entry.site != "output" or "grid" in entry.predictor.needs:
            raise OptionError(
                f"{entry.name} cannot be forecast in open loop, which sees guided outputs without "
                "their grid: take site='output' and a predictor that needs no grid"
            )
    # A session that computes every step changes nothing, and tells steps as predictors see them.
    with attach(pipe, Every(1), Reuse()) as session, tracked(pipe) as track:
        request.run(pipe)
    steps = list(dict.fromkeys(call.step for call in session.report().calls))
    return [of_features(steps, track.guided, entry) for entry in entries]


def of_features(steps: Sequence[Step], features: Sequence[Tensor], entry: Forecast) -> Row:
    """Relative errors |e^_s - e_s| / |e_s| of what an entry forecasts from computed features.

    Args:
        steps: of the trajectory, T.
        features: e_0 to e_{T-1}, of any shape.
        entry: a predictor and its schedule.

    Returns:
        The entry's name and line; `computed` steps and the mean `interval` between them;
        `feature_error_by_step`, None where a step was computed, and their mean `feature_error`,
        None where all were.

    Reference: TaylorSeer (2503.06923), whose features are its modules'; here the model's output.
    """
    chosen = entry.schedule.computed(len(steps))
    entry.predictor.check(len(steps), chosen)
    history = History(entry.predictor.depth)
    computed, errors = 0, list[float | None]()
    for step, feature in zip(steps, features, strict=True):
        if step.index in chosen or len(history) < entry.predictor.minimum:
            history.observe(step, feature)
            computed += 1
            errors.append(None)
        else:
            forecast = entry.predictor.forecast(history, step)
            errors.append(float(vector_norm(forecast - feature) / vector_norm(feature)))
    missed = [error for error in errors if error is not None]
    return {
        "name": entry.name,
        "kind": entry.kind,
        "line": entry.line,
        "computed": computed,
        "interval": len(steps) / computed,
        "feature_error": sum(missed) / len(missed) if missed else None,
        "feature_error_by_step": errors,
    }
