"""Said methods: a method as its row in a table is called, `taylor:order=1 every:5, output`."""

from __future__ import annotations

from pathlib import Path

from forecastcache import zoo
from forecastcache.baselines.baseline import BASELINES
from forecastcache.errors import OptionError, UnknownNameError
from forecastcache.evaluation.method import Method
from forecastcache.evaluation.sweep import Sweep
from forecastcache.registry import PREDICTORS

LEARNED = "learned"  # the calibration that ships beside a zoo model
COMPUTED = "computed:"


def said_method(
    said: str,
    model: str,
    steps: int,
    count: int,
    schedule: str | None = None,
    site: str = "output",
) -> Method:
    """The method of a text: a predictor, a calibration, a baseline, or the file of a set-up.

    Args:
        said: `taylor:order=1`, `taylor every:5, module`, `learned`, `zoo:flux-digits computed:9`,
            `fitted.safetensors`, `steps:count=12` or `fast.yaml`.
        model: name of the model, whose own calibration `learned` is.
        steps: number of steps of a trajectory.
        count: number of computed steps where the text names none.
        schedule: schedule of predictors where the text names none; None for `warped:COUNT`.
        site: site of predictors where the text names none.

    Raises:
        ForecastCacheError: it is none of these, or one of them that cannot be.
    """
    text, comma, own_site = said.partition(", ")
    name, _, when = text.partition(" ")
    word = name.partition(":")[0]
    if name == LEARNED:
        name = _own_calibration(model)
    elif word in PREDICTORS.names():
        when = when or schedule or f"warped:{count}"
        if when.startswith(COMPUTED):
            when = f"warped:{when.removeprefix(COMPUTED)}"
        fields = {"predictors": [name], "schedules": [when], "sites": [own_site or site]}
        return _only(said, fields, steps)
    if (when and not when.startswith(COMPUTED)) or comma:
        raise OptionError(f"{said}: only a predictor takes a schedule and a site: write {name}")
    if word in BASELINES.names():
        return _only(said, {"baselines": [name]}, steps)
    if name.endswith((".yaml", ".yml")):
        return _only(said, {"configs": [name]}, steps)
    if not (name.startswith(zoo.PREFIX) or "/" in name or Path(name).exists()):
        raise UnknownNameError(
            f"{name} is no predictor, baseline or calibration: write such as taylor:order=1, "
            "learned, or a calibration's file (forecastcache list shows what is installed)"
        )
    chosen = when.removeprefix(COMPUTED) or count
    return _only(said, {"calibration": name, "counts": [chosen]}, steps)


def _only(said: str, fields: object, steps: int) -> Method:
    _, method = Sweep.of(said, fields).methods(steps)  # the plain run comes first
    return method


def _own_calibration(model: str) -> str:
    if model.removeprefix(zoo.PREFIX) not in zoo.calibrated() or not model.startswith(zoo.PREFIX):
        raise OptionError(
            f"{LEARNED} is the calibration that ships beside a zoo model, and {model} has none: "
            "give a calibration's file instead"
        )
    return model
