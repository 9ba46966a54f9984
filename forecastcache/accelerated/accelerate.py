"""accelerate(): a pipeline that learns from the first pictures it makes, and then is fast."""

from __future__ import annotations

from dataclasses import replace
from os import PathLike
from pathlib import Path
from typing import Any

from torch import nn

from forecastcache.accelerated.accelerated import Accelerated
from forecastcache.accelerated.goal import Goal, Quality
from forecastcache.accelerated.kept import Kept, home
from forecastcache.accelerated.manner import Manner, OnUnknown, require_usable
from forecastcache.calibration.calibration import Calibration
from forecastcache.calibration.subset import ELEMENTS
from forecastcache.config import GUARD, Config
from forecastcache.engine.attach import denoisers
from forecastcache.errors import AttachError, OptionError
from forecastcache.predictors.variable_order import VariableOrder


def accelerate(
    pipe: Any,
    speedup: float | None = None,
    *,
    computed: int | None = None,
    psnr: float | None = None,
    quality: Quality | None = None,
    pictures: int = 4,
    fit_cost: float = 4.0,
    eager: bool = False,
    on_unknown: OnUnknown = "record",
    config: Config | str | PathLike[str] | None = None,
    calibration: str | PathLike[str] | None = None,
    folder: str | PathLike[str] | None = None,
    elements: int = ELEMENTS,
    guard: float | None = GUARD,
    progress: bool = True,
) -> Accelerated:
    """Stand for a pipeline, and compute fewer of its steps.

        fast = fc.accelerate(pipe, speedup=5)
        image = fast("a fox in the snow").images[0]
        print(fast.summary())

    The first calls run as they always did and are recorded. After `pictures` of them the rows are
    fitted in closed loop, for which they are sampled again with few steps computed, over and over;
    from then on calls are fast. What was learned is kept, so that the next process is fast at
    once, under all that it depends on: weights, adapters, scheduler, steps, guidance, size.

    Args:
        pipe: a diffusers pipeline with nothing attached.
        speedup: times fewer computed steps; where nothing else is asked 5, and for runs of few
            steps as many times fewer as leaves four, or half of them.
        computed: number of computed steps, instead.
        psnr: latent PSNR to the plain run in dB, instead: the fewest computed steps are searched
            that reach it on pictures that the rows were not fitted to.
        quality: `near-lossless`, `balanced` or `fast`: 45, 38 or 30 dB of that.
        pictures: number of samples to learn from.
        fit_cost: as many plain runs of these samples as a fit may take.
        eager: whether calls are fast before anything was learned, by a formula, and none is
            recorded but by `fit(prompts=[...])`.
        on_unknown: what becomes of calls with another guidance, size, number of steps, scheduler,
            or weights than any that was learned: `record` learns them too, `formula` forecasts
            them by a formula, `raise` refuses them.
        config: a set-up, or its YAML file. Its schedule says which steps are computed, and rows
            are fitted to these; its predictor is the formula, `VariableOrder` where it has none;
            its storage and guard hold too.
        calibration: file, hub id or zoo:NAME of a calibration that was made before.
        folder: folder to keep what is learned in; None for `FORECASTCACHE_HOME`, or the user's
            cache folder.
        elements: number of elements of each sample to look at; each takes four bytes of host
            memory a step and picture until the fit is done.
        guard: times what they missed on the pictures learned from that the forecasts of a call may
            miss at its computed steps before a warning says so; None for no warning. It may stand
            in the set-up instead.
        progress: whether a fit shows how far it has come.

    Raises:
        AttachError: the target is no pipeline with a scheduler.
        OptionError: an option is out of range, or two exclude each other, also one of a set-up.
        CalibrationError: the calibration that is named cannot be read.
    """
    model = _model_of(pipe)
    asked = {"speedup": speedup, "computed": computed, "psnr": psnr, "quality": quality}
    goal = Goal.of(speedup, computed, psnr, quality)
    set_up = _set_up(config)
    require_usable(set_up, [it for it, value in asked.items() if value is not None], guard)
    if set_up.schedule is not None:
        set_up.schedule.check_model(model)
    bound = set_up.guard if guard == GUARD else guard
    manner = Manner(
        pictures, fit_cost, eager, on_unknown, elements, bound, progress,
        set_up.predictor or VariableOrder(), set_up.further,
    )  # fmt: skip
    return Accelerated(
        pipe,
        replace(goal, schedule=set_up.schedule),
        manner,
        Kept(home() if folder is None else Path(folder)),
        None if calibration is None else Calibration.load(str(calibration)),
    )


def _model_of(pipe: Any) -> nn.Module:
    """The model of a pipeline that can be accelerated.

    Raises:
        AttachError: it cannot be.
    """
    if isinstance(pipe, Accelerated):
        raise AttachError(
            f"{pipe} is accelerated already: call it, or accelerate its pipeline, .pipe, anew"
        )
    models, pipeline = denoisers(pipe)
    if pipeline is None or getattr(pipe, "scheduler", None) is None:
        raise AttachError(
            f"{type(pipe).__name__} has no scheduler to learn from: give a diffusers pipeline, or "
            "attach a schedule and a predictor to the model"
        )
    return models[0]


def _set_up(config: Config | str | PathLike[str] | None) -> Config:
    if config is None:
        return Config()
    if isinstance(config, Config):
        return config
    if not isinstance(config, (str, PathLike)):
        raise OptionError(f"config={config!r} is no set-up: give a Config, or its YAML file")
    return Config.from_yaml(Path(config))
