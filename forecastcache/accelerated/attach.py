"""attach() as users call it: by parts, by a set-up, or by a calibration."""

from __future__ import annotations

from os import PathLike
from typing import TYPE_CHECKING, Any, Literal, overload

import torch

from forecastcache.config import Config
from forecastcache.engine.attach import attach as attach_parts
from forecastcache.engine.session import Session
from forecastcache.errors import OptionError
from forecastcache.granularity import Blocks, Granularity, Tokens
from forecastcache.predictor import Predictor
from forecastcache.schedule import Schedule

if TYPE_CHECKING:
    from forecastcache.calibration.calibration import Calibration


@overload
def attach(
    target: Any,
    schedule: Schedule | str,
    predictor: Predictor | str,
    *,
    site: Granularity | Blocks | Tokens = "output",
    dtype: torch.dtype | None = None,
    offload: Literal["cpu"] | None = None,
    not_finite: Literal["raise", "recompute"] = "raise",
    budget: int | str | None = None,
) -> Session: ...


@overload
def attach(target: Any, schedule: Config) -> Session: ...


@overload
def attach(
    target: Any,
    *,
    calibration: Calibration | str | PathLike[str],
    speedup: float | None = None,
    computed: int | None = None,
    psnr: float | None = None,
    dtype: torch.dtype | None = None,
    offload: Literal["cpu"] | None = None,
    not_finite: Literal["raise", "recompute"] = "raise",
    budget: int | str | None = None,
) -> Session: ...


def attach(
    target: Any,
    schedule: Schedule | str | Config | None = None,
    predictor: Predictor | str | None = None,
    *,
    calibration: Calibration | str | PathLike[str] | None = None,
    speedup: float | None = None,
    computed: int | None = None,
    psnr: float | None = None,
    **options: Any,
) -> Session:
    """Forecast the steps that are not computed, from now until `detach`.

    What to compute and how to forecast is said in one of three ways: by a schedule and a
    predictor, by a `Config` that holds them, or by a calibration and how fast to be.

        with fc.attach(pipe, fc.Every(5, first=3), fc.Taylor(order=1)) as session:
            image = pipe(...).images[0]
        print(session.report())

        fc.attach(pipe, fc.Config.from_yaml("fast.yaml"))
        fc.attach(pipe, calibration="zoo:flux-digits", speedup=5)

    Everything is checked before the model is touched. The session is a context manager. Forecast
    features carry no gradient.

    Args:
        target: a diffusers pipeline, or a bare model whose forward takes a timestep. Attach the
            pipeline where there is one: its scheduler tells one run from the next. A bare model's
            times must fall from step to step, and `Session.reset` must be called after a run
            that was abandoned.
        schedule: the choice of steps to compute: an object, or its spec such as `every:5`; or a
            `Config`, which holds all other arguments too.
        predictor: the forecaster of the others: an object, or its spec such as `taylor:order=1`.
        calibration: instead of both, a calibration or its file, hub id or zoo:NAME; runs that it
            is not of are refused.
        speedup: times fewer computed steps, by the calibration; 5 where nothing is asked, or what
            the fewest steps that were rolled come to.
        computed: number of computed steps, instead.
        psnr: latent PSNR to the plain run in dB, instead: the fewest steps that were rolled at it.
        options: the rest of the first signature above.
            `site` is the feature to forecast: the model's `output`, the `hidden` input of its
            final layer, each `block`'s residual or each `module`'s output (attention, MLP).
            Partly computed are the forecast steps at `block:2-5` or `Blocks(2, 5)`, where the
            other blocks run, and at `tokens:0.1` or `Tokens(0.1)`, where a tenth of the tokens
            run through each MLP. A calibration has rows of the output.
            `dtype` is the storage dtype of the histories; None keeps the features' own.
            `offload="cpu"` keeps the histories in (pinned) host memory.
            `not_finite` is the remedy for a forecast with NaN or infinity: `raise`, at the next
            computed step or the run's end, or `recompute`, for which every forecast is waited for.
            `budget` are the bytes that the histories of a thread may hold, a number or text such
            as `2 GiB`. The call with which the plan goes over it is refused, the first one or the
            first of the second half of guidance, naming the sites and depths that fit.

    Raises:
        AttachError: the target has no model to attach to, the model takes no timestep, its
            adapter lacks the site or what the schedule looks at, its scheduler calls it twice a
            step, or it is attached already; a predictor's depth is no whole number above 0.
        BudgetError: the budget is no number of bytes above 0.
        CalibrationError: the calibration cannot be read.
        OptionError: two arguments say the same, or the calibration has not what is asked.
        ForecastCacheError: a spec names nothing that is known.
    """
    goals = {"speedup": speedup, "computed": computed, "psnr": psnr}
    asked = [name for name, value in goals.items() if value is not None]
    parts = {"schedule": schedule, "predictor": predictor}
    given = [name for name, value in parts.items() if value is not None]
    if calibration is not None:
        _refuse("calibration", "schedule and predictor", [*given, *_other_site(options)])
        chosen = _of_calibration(calibration, goals if asked else None)
        return attach_parts(target, *chosen, **options)
    if asked:
        raise OptionError(
            f"{asked[0]} chooses from a calibration: give calibration=..., or let "
            f"fc.accelerate(pipe, {asked[0]}=...) learn one"
        )
    if isinstance(schedule, Config):
        _refuse("a Config", "all of the set-up", [*given[1:], *options])
        config = schedule
        return attach_parts(target, *config.parts, site=config.site, **config.further)
    # What is missing is refused there, with an example.
    return attach_parts(target, schedule, predictor, **options)  # type: ignore[arg-type]


def _refuse(giver: str, what: str, others: list[str]) -> None:
    if others:
        raise OptionError(f"{giver} gives {what}: leave out {' and '.join(others)}")


def _other_site(options: dict[str, Any]) -> list[str]:
    return ["site"] if options.get("site", "output") != "output" else []


def _of_calibration(
    source: Calibration | str | PathLike[str], goals: dict[str, Any] | None
) -> tuple[Schedule, Predictor]:
    # Imported here: scipy and others take a second that the other ways need not wait for.
    from forecastcache.accelerated.choice import chosen_by
    from forecastcache.accelerated.goal import Goal
    from forecastcache.calibration.calibration import Calibration

    goal = None if goals is None else Goal.of(**goals)
    found = source if isinstance(source, Calibration) else Calibration.load(str(source))
    return chosen_by(found, goal)
