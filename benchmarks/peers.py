"""Our rows against what people would otherwise use: docs/peers.md.

python benchmarks/peers.py [zoo:NAME ...]          measures and writes; interrupted, it goes on
python benchmarks/peers.py --clock [zoo:NAME ...]  takes the time of what was measured anew
python benchmarks/peers.py --report                writes the tables of what was measured before

Seconds are taken apart, of the rows that comparisons hang on: nothing else should run then.
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
from standings import families, front, report
from tuning import STEPS, Trials

from forecastcache import zoo
from forecastcache.entry import Applied, Entry
from forecastcache.evaluation.evaluation import evaluate
from forecastcache.evaluation.measure import Call
from forecastcache.evaluation.sweep import Sweep
from forecastcache.sampling import Request, load

ROOT = Path(__file__).parents[1]
WORK = ROOT / "build" / "peers"
COUNT = {"zoo:hunyuan-digits": 4}  # held-out clips
PICTURES = 16  # held out, of the others
OURS = range(4, 19)  # computed steps of our rows
FEWER = range(6, 23)  # steps of better and worse solvers
TIMED, PAIRS = 2, 3  # samples of a call whose time is taken, and calls
Row = dict[str, Any]


def measure(model: str) -> None:
    folder = folder_of(model)
    folder.mkdir(parents=True, exist_ok=True)
    pipe = load(model)
    pipe.set_progress_bar_config(disable=True)

    def tell(stage: str, done: int, of: int) -> None:
        print(f"{model}: {done} of {of} rows", flush=True)

    request = Request.of(model, count=COUNT.get(model, PICTURES), steps=STEPS)
    entries = sweep_of(model).entries(STEPS)
    evaluate(pipe, request, entries, model, folder, tell).save(folder)


def sweep_of(model: str) -> Sweep:
    """All that is compared."""
    fewer = [
        f"steps:count={count}{solver}"
        for solver in ("", ",solver=dpm++", ",solver=unipc")
        for count in FEWER
    ]
    return Sweep(calibration=model, computed=tuple(OURS), rivals=(*fewer, *settings(model)))


def settings(model: str) -> list[str]:
    """Of the rivals, the best on calibration prompts; what was searched before is kept."""
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
    """Take the seconds of a few samples, in pairs with the plain run."""
    timed = {row["name"] for family in families(rows(model)).values() for row in front(family)}
    pipe = load(model)
    pipe.set_progress_bar_config(disable=True)
    request = Request.of(model, count=TIMED, steps=STEPS)
    found = {}
    for entry in sweep_of(model).entries(STEPS):
        if entry.name in timed:
            pairs = [pair(pipe, request, entry) for _ in range(PAIRS)]
            found[entry.name] = [median(column) for column in zip(*pairs)]
            print(f"{entry.name}: {found[entry.name]}", flush=True)
    (folder_of(model) / "seconds.json").write_text(json.dumps(found, indent=1))


def pair(pipe: Any, request: Request, entry: Entry) -> tuple[float, float]:
    """Seconds of an entry, and of the plain run beside it."""
    plain = Call.of(pipe, request, Applied())
    with entry.on(pipe, request) as applied:
        return Call.of(pipe, request, applied).seconds, plain.seconds


def rows(model: str) -> list[Row]:
    """What was measured of a model; seconds where they were taken apart."""
    folder = folder_of(model)
    if not (folder / "rows.json").exists():
        return []
    found = json.loads((folder / "rows.json").read_text())["rows"]
    timed = folder / "seconds.json"
    seconds = json.loads(timed.read_text()) if timed.exists() else {}
    left_out = ("latent_psnr_by_step", "lpips", "lpips_missing", "speedup", "lead_db")
    for row in found:
        row["seconds"], row["seconds_plain"] = seconds.get(row["name"], (None, None))
    return [
        {"model": model, **{key: it for key, it in row.items() if key not in left_out}}
        for row in found
    ]


def main() -> None:
    logging.set_verbosity_error()
    models = [zoo.PREFIX + name for name in zoo.MODELS]
    torch.manual_seed(0)
    options = [it for it in sys.argv[1:] if it.startswith("--")]
    asked = [it for it in sys.argv[1:] if it not in options] or models
    for model in asked if not options else ():
        measure(model)
    for model in asked if "--report" not in options else ():
        clock(model)
    found = [row for model in models for row in rows(model)]
    record("peers", found, cache_dit=version("cache-dit"))
    report()


if __name__ == "__main__":
    main()
