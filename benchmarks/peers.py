"""Our rows against what people would use otherwise: docs/peers.md.

python benchmarks/peers.py [zoo:NAME ...]          measures and writes; interrupted, it goes on
python benchmarks/peers.py --clock [zoo:NAME ...]  times what was measured once more
python benchmarks/peers.py --report                writes the tables of what was measured before

The rows that comparisons hang on are timed apart: nothing else should run then.
"""

from __future__ import annotations

import json
import sys
from importlib.metadata import version
from pathlib import Path
from statistics import median
from typing import Any

import torch
from diffusers.utils import logging
from measure import record
from standings import families, pareto_front, recorded, report
from tuning import STEPS, Trials

from forecastcache import zoo
from forecastcache.evaluation.evaluate import evaluate
from forecastcache.evaluation.measure import TimedCall
from forecastcache.evaluation.measurement import Measurement
from forecastcache.evaluation.method import Applied, Forecast, Method
from forecastcache.evaluation.sweep import Sweep
from forecastcache.sampling.loading import load
from forecastcache.sampling.request import Request
from forecastcache.spec import parse_predictor, parse_schedule

ROOT = Path(__file__).parents[1]
WORK = ROOT / "build" / "peers"
COUNT = {"zoo:hunyuan-digits": 4}  # held-out clips
PICTURES = 16  # held out, of the others
OURS = range(4, 19)  # computed steps of our rows
FEWER = range(6, 23)  # steps of better and worse solvers
TIMED, PAIRS = 2, 3  # samples of a timed call, and calls
# Timed beside other work, or to be had from what is recorded.
LEFT_OUT = {
    "speedup", "lead_db", "latent_psnr_by_step", "psnr_db_by_sample", "lpips", "lpips_missing",
    "metrics",
}  # fmt: skip


def measure(model: str) -> None:
    folder = folder_of(model)
    folder.mkdir(parents=True, exist_ok=True)
    pipe = load(model)
    pipe.set_progress_bar_config(disable=True)

    def progress(stage: str, done: int, of: int) -> None:
        print(f"{model}: {done} of {of} rows", flush=True)

    request = Request.of(model, count=COUNT.get(model, PICTURES), steps=STEPS)
    evaluate(pipe, request, methods_of(model), model, folder, progress).save(folder)


def methods_of(model: str) -> list[Method]:
    """All that is compared."""
    fewer = [
        f"steps:count={count}{solver}"
        for solver in ("", ",solver=dpm++", ",solver=unipc")
        for count in FEWER
    ]
    chosen = settings(model)
    formulas = [spec for spec in chosen if " " in spec]
    others = [spec for spec in chosen if " " not in spec]
    sweep = Sweep(calibration=model, counts=tuple(OURS), baselines=(*fewer, *others))
    return sweep.methods(STEPS) + [formula(*spec.split()) for spec in formulas]


def formula(predictor: str, schedule: str) -> Method:
    chosen, when = parse_predictor(predictor), parse_schedule(schedule)
    return Forecast(chosen, when, "output", predictor, schedule)


def settings(model: str) -> list[str]:
    """The best baselines on calibration prompts; what was searched before is kept."""
    path = folder_of(model) / "settings.json"
    known = json.loads(path.read_text()) if path.exists() else {}
    for name, search in Trials(model).searches().items():
        if name not in known:
            known[name] = search()
            path.write_text(json.dumps(known, indent=1))
            print(f"{model}: {name}: {len(known[name])} settings", flush=True)
    return list(dict.fromkeys(spec for specs in known.values() for spec in specs))


def folder_of(model: str) -> Path:
    return WORK / model.removeprefix(zoo.PREFIX)


def clock(model: str) -> None:
    """Time a few samples, in pairs with the plain run."""
    groups = families(rows(model)).values()
    timed = {row.name for family in groups for row in pareto_front(family)}
    pipe = load(model)
    pipe.set_progress_bar_config(disable=True)
    request = Request.of(model, count=TIMED, steps=STEPS)
    found = {}
    for method in methods_of(model):
        if method.name in timed:
            pairs = [pair(pipe, request, method) for _ in range(PAIRS)]
            found[method.name] = [median(column) for column in zip(*pairs)]
            print(f"{method.name}: {found[method.name]}", flush=True)
    (folder_of(model) / "seconds.json").write_text(json.dumps(found, indent=1))


def pair(pipe: Any, request: Request, method: Method) -> tuple[float, float]:
    """Seconds of a method, and of the plain run beside it."""
    plain = TimedCall.of(pipe, request, Applied())
    with method.apply(pipe, request) as applied:
        return TimedCall.of(pipe, request, applied).seconds, plain.seconds


def rows(model: str) -> list[Measurement]:
    """What was measured of a model; seconds where they were taken apart."""
    folder = folder_of(model)
    if not (folder / "rows.json").exists():
        return []
    found = json.loads((folder / "rows.json").read_text())["rows"]
    timed = folder / "seconds.json"
    seconds = json.loads(timed.read_text()) if timed.exists() else {}
    for row in found:
        row["seconds"], row["seconds_plain"] = seconds.get(row["name"], (None, None))
    return [Measurement.model_validate(row) for row in found]


def figures(model: str, row: Measurement) -> dict[str, Any]:
    """What is recorded of a measurement: the figures that it has."""
    return {"model": model, **row.model_dump(mode="json", exclude=LEFT_OUT, exclude_none=True)}


def main() -> None:
    logging.set_verbosity_error()
    models = [zoo.PREFIX + name for name in zoo.calibrated()]
    torch.manual_seed(0)
    options = [it for it in sys.argv[1:] if it.startswith("--")]
    asked = [it for it in sys.argv[1:] if it not in options] or models
    for model in asked if not options else ():
        measure(model)
    for model in asked if "--report" not in options else ():
        clock(model)
    before, here = recorded(), {model: rows(model) for model in models}
    if any(here.values()):  # what another checkout measured stays as it was recorded
        found = {model: here[model] or before.get(model, []) for model in models}
        flat = [figures(model, row) for model in models for row in found[model]]
        record("peers", flat, cache_dit=version("cache-dit"))
    report()


if __name__ == "__main__":
    main()
