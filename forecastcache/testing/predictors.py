"""check_predictor: what every predictor must do, ours and anybody's."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from itertools import product

import torch
from torch import Tensor, nn
from torch.nn.modules.module import register_module_forward_pre_hook

from forecastcache.engine.attach import attach
from forecastcache.errors import ConformanceError, HistoryError
from forecastcache.predictor import LinearPredictor, Predictor, depth_complaint
from forecastcache.schedule import Schedule
from forecastcache.testing.requirement import require
from forecastcache.testing.round_trip import require_round_trips
from forecastcache.testing.trial import SHAPES, TIMES, UNEVEN, Trial, random_features

DTYPES = (torch.float64, torch.float32, torch.bfloat16, torch.float16)
ROUNDING = 1e4  # times the precision: what sums of weights of some hundreds may lose


def check_predictor(
    predictor: Predictor, schedule: Schedule | None = None, times: Sequence[float] | None = None
) -> None:
    """Hold a predictor to its contract.

    Args:
        predictor: the predictor to check.
        schedule: the one that the predictor serves; None for one of uneven intervals.
        times: falling times of all steps, where the predictor serves certain ones only; None for
            50 steps from 1 down.

    Raises:
        ConformanceError: naming what was done and what came of it, which is an AssertionError.
    """
    require(isinstance(predictor, Predictor), f"{predictor!r} is no predictor: give an object")
    trial = Trial(predictor, schedule or UNEVEN, TIMES if times is None else times)
    require(
        trial.serves_a_forecast,
        f"{trial.schedule} computes all {len(trial.times)} steps: give one that leaves some out",
    )
    for check in CHECKS:
        check(trial)


def _check_depth(trial: Trial) -> None:
    """It keeps at least one feature, and as many as it needs."""
    complaint = depth_complaint(trial.predictor)
    require(not complaint, complaint)


def _check_round_trips(trial: Trial) -> None:
    """It comes back equal from pickle and from JSON, and can be a key."""
    require_round_trips(trial.predictor)


def _check_short_history_is_refused(trial: Trial) -> None:
    """From fewer features than its minimum it refuses to forecast."""
    too_few = trial.steps[: trial.predictor.minimum - 1]
    try:
        trial.predictor.prepare(too_few, trial.target)
    except HistoryError:
        return
    raise ConformanceError(
        f"{trial.predictor} forecast from {len(too_few)} features, but its minimum is "
        f"{trial.predictor.minimum}: leave `prepare` as it is, or let it raise HistoryError"
    )


def _check_features_keep_their_kind(trial: Trial) -> None:
    """Forecasts have the features' shape, dtype and device, contiguous or not, and are finite."""
    forecast = trial.forecaster()
    for shape, dtype, device, turned in product(SHAPES, DTYPES, _devices(), (False, True)):
        features = [
            f.to(device, dtype)
            for f in random_features(len(trial.steps), shape[::-1] if turned else shape)
        ]
        if turned:  # the same shape, but not contiguous
            features = [f.permute(*reversed(range(f.ndim))) for f in features]
        result = forecast(trial.history(features))
        given = f"{trial.predictor} was given features of {tuple(shape)}, {dtype}, {device}"
        require(isinstance(result, Tensor), f"{given}, and returned {result!r}, no tensor")
        require(
            (result.shape, result.dtype, result.device)
            == (features[0].shape, dtype, features[0].device),
            f"{given}, and returned {tuple(result.shape)}, {result.dtype}, {result.device}",
        )
        require(bool(result.isfinite().all()), f"{given}, and its forecast is not finite")


def _check_what_is_not_finite_is_passed_on(trial: Trial) -> None:
    """A model may compute NaN: the session deals with it once the forecast is there."""
    for features in trial.features():
        features[-1] = features[-1] * torch.nan
        result = trial.forecaster()(trial.history(features))
        require(
            not bool(result.isfinite().all()) or trial.predictor.fitted,
            f"{trial.predictor} made a finite forecast of features that are not",
        )


def _check_histories_are_left_alone(trial: Trial) -> None:
    """Features are neither written to nor handed out."""
    for features in trial.features():
        history = trial.history(features)
        before = torch.stack(history.features)
        forecast = trial.forecaster()(history)
        require(
            torch.equal(before, torch.stack(history.features)),
            f"{trial.predictor} wrote to its history: copy what is to be changed",
        )
        forecast.add_(1)
        require(
            torch.equal(before, torch.stack(history.features)),
            f"{trial.predictor} handed out a part of its history, or its forecast shares memory "
            "with it: return a tensor of its own",
        )


def _check_no_model_is_called(trial: Trial) -> None:
    """A forecast is made from the history alone, or by modules that are the predictor's own."""
    own = _modules_of(trial.predictor)
    called: list[str] = []

    def note(module: nn.Module, _: object) -> None:
        if module not in own:
            called.append(type(module).__name__)

    hook = register_module_forward_pre_hook(note)
    try:
        for features in trial.features():
            trial.forecaster()(trial.history(features))
    finally:
        hook.remove()
    require(
        not called,
        f"{trial.predictor} called {called[0] if called else ''} while it forecast: a forecast is "
        "made from the history alone; what has to look into the model is a schedule",
    )


def _check_forecasts_depend_on_nothing_else(trial: Trial) -> None:
    """The same history gives the same forecast, whatever was forecast in between."""
    for features in trial.features():
        history = trial.history(features)
        other = trial.history([f.flip(0) * 3 for f in features])
        forecast = trial.forecaster()
        first = forecast(history)
        forecast(other)
        again = (forecast(history), trial.forecaster()(history))
        require(
            all(torch.equal(first, each) for each in again),
            f"{trial.predictor} forecast the same history differently: keep no state in it",
        )


def _check_forecasts_scale(trial: Trial) -> None:
    """Features four times as large have a forecast four times as large."""
    for features in trial.features():
        forecast = trial.forecaster()
        once = forecast(trial.history(features))
        fourfold = forecast(trial.history([4 * f for f in features]))
        _require_close(fourfold, 4 * once, f"{trial.predictor} of features four times as large")


def _check_linear_forecasts_add_up(trial: Trial) -> None:
    """A linear predictor forecasts a sum of trajectories as the sum of their forecasts."""
    if not isinstance(trial.predictor, LinearPredictor):
        return
    for features in trial.features():
        forecast = trial.forecaster()
        others = [f.flip(0) for f in features]
        both = [f + g for f, g in zip(features, others)]
        total, one, other = (forecast(trial.history(each)) for each in (both, features, others))
        _require_close(total, one + other, f"{trial.predictor} of the sum of two trajectories")


def _check_constants_are_kept(trial: Trial) -> None:
    """A trajectory that stands still is forecast to stand still, unless it was fitted."""
    if trial.predictor.fitted:
        return
    for features in trial.features():
        still = [features[0]] * len(features)
        result = trial.forecaster()(trial.history(still))
        _require_close(result, still[0], f"{trial.predictor} of a constant trajectory")


def _check_planned_bytes_are_held(trial: Trial) -> None:
    """Attached to a model, it holds the bytes that the accountant plans, and forecasts.

    One that looks at the first block is not tried: the model of this check has no blocks.
    """
    if "first_block" in trial.predictor.needs:
        return
    pipe = trial.pipeline()
    with attach(pipe, trial.schedule, trial.predictor) as session:
        for time in pipe.scheduler.timesteps:
            pipe.transformer(torch.ones(2, 3, 8, 6), time)
    report = session.report()
    require(
        set(report.computed)
        <= {0, *(trial.schedule.foreseen(report.steps) or ()), *range(trial.predictor.depth)},
        f"{trial.predictor} did not forecast though its history was full: {trial.schedule} became "
        f"{report.computed}",
    )
    require(
        report.cache_bytes == report.cache_bytes_planned,
        f"{trial.predictor} held {report.cache_bytes} bytes where {report.cache_bytes_planned} "
        "were planned: its depth must not change",
    )


def _modules_of(predictor: Predictor) -> set[nn.Module]:
    """The modules that a predictor has in options, private or class attributes."""
    private = predictor.__pydantic_private__ or {}
    held = [*vars(predictor).values(), *private.values(), *vars(type(predictor)).values()]
    return {part for it in held if isinstance(it, nn.Module) for part in it.modules()}


def _devices() -> tuple[str, ...]:
    return ("cpu", "cuda") if torch.cuda.is_available() else ("cpu",)


def _require_close(result: Tensor, expected: Tensor, what: str) -> None:
    error = float((result - expected).abs().max())
    allowed = ROUNDING * torch.finfo(result.dtype).eps * max(1.0, float(expected.abs().max()))
    require(
        error <= allowed,
        f"{what} is off by {error:.3g}, where rounding explains {allowed:.3g}",
    )


CHECKS: tuple[Callable[[Trial], None], ...] = (
    _check_depth,
    _check_round_trips,
    _check_short_history_is_refused,
    _check_features_keep_their_kind,
    _check_what_is_not_finite_is_passed_on,
    _check_histories_are_left_alone,
    _check_no_model_is_called,
    _check_forecasts_depend_on_nothing_else,
    _check_forecasts_scale,
    _check_linear_forecasts_add_up,
    _check_constants_are_kept,
    _check_planned_bytes_are_held,
)
