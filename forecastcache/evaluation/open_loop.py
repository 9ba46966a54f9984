"""Open loop: how far forecasts lie from the features of a plain run, as intervals grow.

Every forecast here is made from computed features of the plain run itself (open loop), so nothing
that an earlier forecast missed comes back: what is seen is the predictor alone. What becomes of a
sample whose sampler goes on from the forecasts is what `evaluate` measures.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from torch import Tensor
from torch.linalg import vector_norm

from forecastcache.calibration.calibration import Calibration
from forecastcache.calibration.offers import Loop
from forecastcache.engine.attach import attach
from forecastcache.errors import OptionError
from forecastcache.evaluation.method import Forecast
from forecastcache.history import History
from forecastcache.predictor import SEEN
from forecastcache.predictors.reuse import Reuse
from forecastcache.sampling.request import Request
from forecastcache.sampling.trajectory import trajectory_of
from forecastcache.schedule import Every
from forecastcache.spec import parse_predictor, parse_schedule
from forecastcache.step import Step


@dataclass(frozen=True)
class FeatureErrors:
    """How far one method's forecasts lie from the features that they stand for.

    Attributes:
        name: name of the method.
        line: name of its line in a chart.
        computed: computed steps.
        count: number of them.
        interval: mean distance between computed steps, in steps.
        feature_error: mean relative error of the forecasts; None where every step was computed.
        feature_error_by_step: relative errors, None where a step was computed.
    """

    name: str
    line: str
    computed: tuple[int, ...]
    count: int
    interval: float
    feature_error: float | None
    feature_error_by_step: tuple[float | None, ...]

    def figures(self) -> dict[str, Any]:
        """Every figure, ready for JSON."""
        return asdict(self)


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
        loops: loops in which its rows are fitted.

    Raises:
        ForecastCacheError: a spec is none, or the calibration has no such rows.
    """
    found = []
    schedules = {when: parse_schedule(when) for when in (f"every:{it}" for it in intervals)}
    for when, schedule in schedules.items():
        found += [
            Forecast(parse_predictor(spec), schedule, "output", spec, when) for spec in predictors
        ]
    if calibration is None:
        return found
    learned = Calibration.load(calibration)
    for when, schedule in schedules.items():
        for loop in loops:
            rows, label = learned.predictor(schedule, loop), f"learned, {loop} loop"
            found.append(Forecast(rows, schedule, "output", label, when, learned.identity))
    return found


def open_loop(pipe: Any, request: Request, methods: Sequence[Forecast]) -> list[FeatureErrors]:
    """Sample plainly, once, and forecast what the schedule of each method leaves out.

    Features are what the pipeline hands its scheduler, so guidance has joined its branches.

    Args:
        pipe: a diffusers pipeline with nothing attached.
        request: the samples to ask the pipeline for; they are taken as one feature.
        methods: predictors at `site="output"`, with schedules that know their steps beforehand.

    Raises:
        OptionError: a method forecasts at another site, or by the grid of the image's tokens.
        ForecastCacheError: a predictor does not fit the trajectory.
    """
    for method in methods:
        unknown = method.predictor.needs & (SEEN | {"grid"})
        if method.site != "output" or unknown:
            raise OptionError(
                f"{method.name} cannot be forecast in open loop, which sees guided outputs and "
                "nothing else: take site='output' and a predictor that needs no grid, latent or "
                "first_block"
            )
    # A session that computes every step changes nothing, and tells steps as predictors see them.
    with attach(pipe, Every(1), Reuse()) as session, trajectory_of(pipe) as trajectory:
        request.run(pipe)
    steps = list(dict.fromkeys(call.step for call in session.report().calls))
    return [feature_errors(steps, trajectory.guided, method) for method in methods]


def feature_errors(
    steps: Sequence[Step], features: Sequence[Tensor], method: Forecast
) -> FeatureErrors:
    """Relative errors |e^_s - e_s| / |e_s| of what a method forecasts from computed features.

    Args:
        steps: steps of the trajectory, T.
        features: features e_0 to e_{T-1}, of any shape.
        method: a predictor and its schedule.

    Reference: TaylorSeer (2503.06923), whose features are its modules'; here the model's output.
    """
    chosen = method.schedule.computed(len(steps))
    method.predictor.check(len(steps), chosen)
    predictor = method.predictor.for_schedule(method.schedule)
    history = History(predictor.depth)
    computed, errors = list[int](), list[float | None]()
    for step, feature in zip(steps, features, strict=True):
        if step.index in chosen or len(history) < predictor.minimum:
            history.observe(step, feature)
            computed.append(step.index)
            errors.append(None)
        else:
            forecast = predictor.forecast(history, step)
            errors.append(float(vector_norm(forecast - feature) / vector_norm(feature)))
    missed = [error for error in errors if error is not None]
    return FeatureErrors(
        name=method.name,
        line=method.line,
        computed=tuple(computed),
        count=len(computed),
        interval=len(steps) / len(computed),
        feature_error=sum(missed) / len(missed) if missed else None,
        feature_error_by_step=tuple(errors),
    )
