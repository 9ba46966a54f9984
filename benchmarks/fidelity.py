"""How near forecast runs end to plain ones, on held-out prompts: docs/fidelity.md.

python benchmarks/fidelity.py [zoo:NAME ...]               all of it
python benchmarks/fidelity.py --calibrated [zoo:NAME ...]  what depends on the calibrations alone
"""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import torch
from diffusers.utils import logging
from measure import RESULTS, put, record
from torch import Tensor

import forecastcache as fc
from forecastcache import zoo
from forecastcache.calibration.calibration import Calibration
from forecastcache.calibration.fits import decibels
from forecastcache.calibration.offers import Loop
from forecastcache.calibration.output_cache import OutputCache
from forecastcache.calibration.schedule_search import search
from forecastcache.engine.attach import denoisers
from forecastcache.granularity import Granularity
from forecastcache.predictor import Predictor
from forecastcache.sampling.loading import load
from forecastcache.sampling.request import Request
from forecastcache.sampling.trajectory import trajectory_of
from forecastcache.spec import parse_predictor

SAMPLES = 64  # held out
SEARCHED = 16  # calibration prompts on which each predictor's best schedule is searched
TRIES = 40  # schedules of the warped family, as many as for the closed-loop rows that ship
REFERENCE = fc.Every(7, first=3)  # 9 computed of 50, as TaylorSeer's code has it
LATE = fc.Listed(range(0, 49, 6))  # 9 as well
PREDICTORS = (
    "reuse", "taylor:order=1", "taylor:order=2", "newton:order=2", "hermite", "bdf", "exponential",
)  # fmt: skip
LOOPS: tuple[Loop, ...] = ("open", "simulated", "closed")
DOCUMENT = Path(__file__).parents[1] / "docs" / "fidelity.md"


class Fidelity:
    """How near runs of a request end to its plain run."""

    def __init__(self, pipe: Any, request: Request, count: int) -> None:
        self.pipe, self.request, self.count = pipe, request, count
        self.plain = self._final()

    def psnr(
        self,
        schedule: fc.Schedule,
        predictor: Predictor,
        site: Granularity = "output",
        cache: OutputCache | None = None,
    ) -> float:
        """Of the final latents, mean over samples, in dB; data range 2."""
        return sum(self.each(schedule, predictor, site, cache)) / self.count

    def each(
        self,
        schedule: fc.Schedule,
        predictor: Predictor,
        site: Granularity = "output",
        cache: OutputCache | None = None,
    ) -> list[float]:
        """The same of each sample."""
        models, _ = denoisers(self.pipe)
        with trajectory_of(self.pipe, self.count) as trajectory:
            cached = (cache or OutputCache(room=0)).serving(
                models, schedule.computed(self.request.steps), lambda: (0, len(trajectory.guided))
            )
            with cached, fc.attach(self.pipe, schedule, predictor, site=site):
                self.request.run(self.pipe)
        errors = (trajectory.samples[-1] - self.plain).double().square().flatten(1).mean(1)
        return list(map(decibels, errors.tolist()))

    def _final(self) -> Tensor:
        with trajectory_of(self.pipe, self.count) as trajectory:
            self.request.run(self.pipe)
        return trajectory.samples[-1]


def rows(name: str, known: Sequence[dict[str, Any]] = ()) -> list[dict[str, Any]]:
    """Of one model; formulas at their best schedules as they are `known`, where they are."""
    pipe = load(name)
    pipe.set_progress_bar_config(disable=True)
    held_out = Fidelity(pipe, Request.of(name, count=SAMPLES), SAMPLES)
    request = Request.of(name, split="calibration", count=SEARCHED, seed=1000)
    searching = Fidelity(pipe, request, SEARCHED)
    calibration = Calibration.load(name)
    found: list[dict[str, Any]] = []

    def measure(
        what: str, schedule: fc.Schedule, predictor: Predictor, site: Granularity = "output"
    ) -> None:
        computed = schedule.computed(50)
        ended = held_out.psnr(schedule, predictor, site)
        found.append(
            {"model": name, "what": what, "site": site, "computed": computed,
             "count": len(computed), "latent_psnr_db": round(ended, 2)}
        )  # fmt: skip
        print(found[-1], flush=True)

    measure("TaylorSeer as published", REFERENCE, fc.Taylor(order=1), "module")
    for place, schedule in (("reference rule", REFERENCE), ("uniform, ends late", LATE)):
        measure(f"Taylor 1, {place}", schedule, fc.Taylor(order=1))
        for loop in LOOPS:
            measure(f"{loop} loop, {place}", schedule, calibration.predictor(schedule, loop))
    formulas = [row for row in known if row["what"].endswith(", its best schedule")]
    found += formulas
    for spec in () if formulas else (*PREDICTORS, "open loop"):
        predictor = partial(predictor_of, spec, calibration)
        best = best_schedule(searching, 9, predictor, TRIES)
        measure(f"{spec}, its best schedule", best, predictor(best))
    for count in sorted({len(fit.computed) for fit in calibration.fits}):
        measure(f"closed loop, searched {count}", *calibration.choose(count))
    return found


def predictor_of(spec: str, calibration: Calibration, schedule: fc.Schedule) -> Predictor:
    if spec == "open loop":
        return calibration.predictor(schedule, "open")
    return parse_predictor(spec)


def best_schedule(
    fidelity: Fidelity, count: int, predictor: Callable[[fc.Schedule], Predictor], tries: int
) -> fc.Listed:
    """Searched for as the closed-loop schedules were: over the same family."""
    cache = OutputCache()

    def error(computed: tuple[int, ...]) -> float:
        schedule = fc.Listed(computed)
        return -fidelity.psnr(schedule, predictor(schedule), cache=cache)

    return fc.Listed(search(error, count, fidelity.request.steps, tries).computed)


def table(found: Sequence[dict[str, Any]]) -> str:
    names = list(dict.fromkeys(row["model"] for row in found))
    lines = ["| | computed | " + " | ".join(f"`{name}`" for name in names) + " |"]
    lines.append("|---|---|" + "---|" * len(names))
    for what, count in dict.fromkeys((row["what"], row["count"]) for row in found):
        values = {row["model"]: row["latent_psnr_db"] for row in found if row["what"] == what}
        cells = " | ".join(f"{values[it]:.1f}" if it in values else "" for it in names)
        lines.append(f"| {what} | {count} | {cells} |")
    return "\n".join(lines)


def schedules(found: Sequence[dict[str, Any]]) -> str:
    lines = ["| model | computed | steps |", "|---|---|---|"]
    lines += [
        f"| `{row['model']}` | {row['count']} | {' '.join(map(str, row['computed']))} |"
        for row in found
        if row["what"].startswith("closed loop, searched")
    ]
    return "\n".join(lines)


def main() -> None:
    logging.set_verbosity_error()
    torch.manual_seed(0)
    calibrated = "--calibrated" in sys.argv
    names = [it for it in sys.argv[1:] if it != "--calibrated"]
    names = names or [zoo.PREFIX + name for name in zoo.calibrated()]
    path = RESULTS / "fidelity.json"
    known = json.loads(path.read_text())["rows"] if path.exists() else []
    fresh = [
        row
        for name in names
        for row in rows(name, [it for it in known if calibrated and it["model"] == name])
    ]
    kept = [row for row in known if row["model"] not in names]
    order = [zoo.PREFIX + name for name in zoo.calibrated()]
    found = sorted(kept + fresh, key=lambda row: order.index(row["model"]))
    record("fidelity", found)
    inside = "\n\n".join([table(found), "Schedules that the searches found:", schedules(found)])
    put(DOCUMENT, "tables", inside)


if __name__ == "__main__":
    main()
