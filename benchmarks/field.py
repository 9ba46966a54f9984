"""Every method of the field at equal cost: docs/field.md.

python benchmarks/field.py [zoo:NAME[@GUIDANCE] ...]   measures and writes; interrupted, it goes on
python benchmarks/field.py --report                    writes the page of what was measured

Each method gets a budget of FLOPs, what a plain run of 6, 9, 12 or 18 steps costs; what it may
choose, it chooses on calibration prompts. Samples are made one by one, since rules that look at
the run decide a batch as a whole.
"""

from __future__ import annotations

import json
import sys
import warnings
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property, partial
from pathlib import Path
from statistics import mean, median
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
import torch
from diffusers.utils import logging
from measure import RESULTS, record
from standings import FAMILIES, HOUSES, others_of, recorded

import forecastcache as fc
from forecastcache.calibration.calibration import Calibration
from forecastcache.engine.attach import denoisers
from forecastcache.errors import AttachError
from forecastcache.evaluation.compare import best_within
from forecastcache.evaluation.labels import Label, label_ends
from forecastcache.evaluation.measure import CountedRun, latent_psnr
from forecastcache.evaluation.method import Applied
from forecastcache.evaluation.style import LIGHT, drawing, family_of, looks, named_axes
from forecastcache.registry import adapter_for
from forecastcache.sampling.loading import load
from forecastcache.sampling.request import Request
from forecastcache.spec import parse_predictor, parse_schedule

MODELS = ("zoo:flux-digits", "zoo:hunyuan-digits", "zoo:dit-digits@4", "zoo:flux-emoji")
STEPS, BUDGETS = 50, (6, 9, 12, 18)
TRIED, HELD_OUT, SEED = 2, 8, 1000  # samples, and the calibration split's seed
PICTURES = 4  # of the calibration split, that `accelerate` learns from
SLACK = 1.02  # of a budget
RULES = (
    "teacache", "firstblock", "magcache:in_a_row=12,retention=0.05", "easycache:first=1",
    "seacache", "adacache", "verified:first=1,in_a_row=20", "drift",
)  # fmt: skip
FILLED_IN = ("reuse", "taylor:order=1")
FORMULAS = (
    "reuse", "taylor:order=1", "taylor:order=2", "newton:order=2", "hermite", "bdf", "exponential",
    "variable-order", "meanvelocity", "resilphase", "twoanchor", "repay", "tap",
)  # fmt: skip
TOKENS = ("tokens:0.1", "tokens:0.3")  # of models that have the site
DOCUMENT = Path(__file__).parents[1] / "docs" / "field.md"
START, END = "<!-- tables -->", "<!-- end of tables -->"
OURS = "forecastcache, calibrated"
LEARNED = "forecastcache, from four samples"
NAMED = 8  # methods of the picture, a model


@dataclass(frozen=True)
class Run:
    """A sample: how near it ends, in dB, and what it took, in plain steps' worth of FLOPs."""

    psnr: float
    steps: float


class Samples:
    """Samples of one model, each beside its plain run."""

    def __init__(self, pipe: Any, request: Request) -> None:
        self.pipe, self.request = pipe, request
        self.parts = request.split(pipe, 1)

    @cached_property
    def plain(self) -> list[CountedRun]:
        return [CountedRun.of(self.pipe, part, Applied()) for part in self.parts]

    def mean(self, schedule: Any, predictor: Any, site: str = "output") -> Run:
        runs = [*self._runs(schedule, predictor, site)]
        return Run(mean(run.psnr for run in runs), mean(run.steps for run in runs))

    def _runs(self, schedule: Any, predictor: Any, site: Any) -> Iterator[Run]:
        for part, plain in zip(self.parts, self.plain, strict=True):
            with fc.attach(self.pipe, schedule, predictor, site=site) as session:
                run = CountedRun.of(self.pipe, part, Applied(session=session))
            near = latent_psnr(run.latents[-1], plain.latents[-1])
            step = median(plain.flops.by_step)
            spent = run.flops.total - (plain.flops.total - STEPS * step)
            yield Run(near if near is not None else 200.0, spent / step)


class Field:
    """All methods on one model.

    Args:
        name: model, with a guidance scale behind an @.
    """

    def __init__(self, name: str) -> None:
        self.model, _, guidance = name.partition("@")
        asked: dict[str, Any] = {"guidance_scale": float(guidance)} if guidance else {}
        self.name, self.pipe = name, load(self.model)
        self.pipe.set_progress_bar_config(disable=True)
        self._asked = asked
        held_out = Request.of(self.model, count=HELD_OUT, steps=STEPS, **asked)
        self.held_out = Samples(self.pipe, held_out)
        self.tried = Samples(self.pipe, self._calibration(TRIED))
        self.calibrated = not guidance

    def _calibration(self, count: int) -> Request:
        return Request.of(
            self.model, "calibration", count=count, seed=SEED, steps=STEPS, **self._asked
        )

    def methods(self) -> dict[str, Callable[[], list[dict[str, Any]]]]:
        """What measures each, by name."""
        found: dict[str, Callable[[], list[dict[str, Any]]]] = {}
        if self.calibrated:
            found[OURS] = self._ours
        else:
            found[LEARNED] = self._learned
        for rule in RULES:
            for predictor in FILLED_IN:
                found[f"{rule.partition(':')[0]}, {predictor}"] = partial(
                    self._rule, rule, predictor
                )
        for formula in FORMULAS:
            found[f"warped, {formula}"] = partial(self._fixed, formula, "output")
        adapter = adapter_for(denoisers(self.pipe)[0][0])
        for site in TOKENS if "tokens" in adapter.granularities else ():
            found[f"warped, taylor:order=1, {site}"] = partial(self._fixed, "taylor", site)
        return found

    def _row(self, budget: int, run: Run, schedule: Any) -> dict[str, Any]:
        return {
            "budget": budget, "latent_psnr_db": round(run.psnr, 2), "steps": round(run.steps, 2),
            "schedule": shown(str(schedule)),
        }  # fmt: skip

    def _ours(self) -> list[dict[str, Any]]:
        calibration, found = Calibration.load(self.model), []
        for budget in BUDGETS:
            schedule, predictor = calibration.choose(budget)
            run = self.held_out.mean(schedule, predictor)
            found.append(self._row(budget, run, schedule))
        return found

    def _learned(self) -> list[dict[str, Any]]:
        """What `accelerate` learns at a guidance scale that the shipped calibration is not of."""
        parts = self._calibration(PICTURES).split(self.pipe, 1)
        found = []
        for budget in BUDGETS:
            with TemporaryDirectory() as folder:
                fast = fc.accelerate(
                    self.pipe, computed=budget, pictures=PICTURES, folder=folder, progress=False
                )
                for part in parts:
                    seeds = [torch.Generator().manual_seed(seed) for seed in part.seeds]
                    fast(**part.arguments(self.pipe), generator=seeds)
                fast.save(Path(folder) / "learned")
                schedule, predictor = Calibration.load(Path(folder) / "learned").choose(budget)
            run = self.held_out.mean(schedule, predictor)
            found.append(self._row(budget, run, schedule))
        return found

    def _rule(self, rule: str, predictor: str) -> list[dict[str, Any]]:
        fitted = fc.fit_schedule(self.pipe, self.tried.request, parse_schedule(rule))
        found = []
        for budget in BUDGETS:
            solved = self._solved(fitted, predictor, budget)
            if solved is not None:
                run = self.held_out.mean(solved, parse_predictor(predictor))
                found.append(self._row(budget, run, solved))
        return found

    def _solved(self, rule: Any, predictor: str, budget: int) -> Any:
        """The rule at the threshold that spends a budget on calibration prompts; None if none."""
        forecaster, count = parse_predictor(predictor), float(budget)
        for _ in range(3):
            solved = fc.solve_threshold(
                self.pipe, self.tried.request, rule, forecaster, computed=count
            )
            spent = self.tried.mean(solved, forecaster).steps
            if spent <= budget * SLACK:
                return solved
            count -= max(spent - budget, 0.5)  # what looking at the model costs
            if count < 2:
                break
        return None

    def _fixed(self, predictor: str, site: str) -> list[dict[str, Any]]:
        """A formula at the default warp: as many steps as the budget allows."""
        forecaster, found = parse_predictor(predictor), []
        for budget in BUDGETS:
            for count in range(budget, 1, -1):
                warped = fc.Warped(count)
                if self.tried.mean(warped, forecaster, site).steps <= budget * SLACK:
                    run = self.held_out.mean(warped, forecaster, site)
                    found.append(self._row(budget, run, warped))
                    break
        return found


def shown(schedule: str) -> str:
    """A schedule in few words."""
    return schedule if len(schedule) < 120 else f"{schedule[:116]} ..."


def measure(name: str, known: list[dict[str, Any]]) -> None:
    """All methods on one model that are not `known`."""
    field, done = Field(name), {row["method"] for row in known if row["model"] == name}
    for method, rows in field.methods().items():
        if method in done:
            continue
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", fc.ForecastCacheWarning)
            try:
                found, reason = rows(), "it fits no budget"
            except AttachError as error:  # MeanCache's velocities are of flow matching alone
                found, reason = [], str(error)
        none = {"budget": None, "reason": reason}
        known += [{"model": name, "method": method, **row} for row in found or [none]]
        record("field", known)
        print(method, [(row["budget"], row["latent_psnr_db"]) for row in found], flush=True)


def others(model: str) -> dict[str, dict[int, float]]:
    """What the packages of others have at the same budgets, as docs/peers.md has it."""
    rows = others_of(recorded().get(model, []))
    if not rows:
        return {}
    fewer = [row for row in rows if row.name.startswith("steps") and "solver" not in row.name]
    line = np.polyfit([row.count or 0 for row in fewer], [row.flops or 0 for row in fewer], 1)
    found: dict[str, dict[int, float]] = {}
    for family, belongs in FAMILIES.items():
        own = [row for row in rows if belongs(row.name)]
        for budget in BUDGETS:
            best = best_within(own, "FLOPs", float(np.polyval(line, budget)) * SLACK)
            if best is not None and best.latent_psnr_db is not None:
                found.setdefault(family, {})[budget] = best.latent_psnr_db
    return found


def standing(known: Sequence[dict[str, Any]], name: str) -> dict[str, dict[int, float]]:
    """Latent PSNR by method and budget, the best first."""
    found: dict[str, dict[int, float]] = {}
    for row in known:
        if row["model"] == name:
            own = found.setdefault(row["method"], {})
            if row["budget"] is not None:
                own[row["budget"]] = row["latent_psnr_db"]
    found |= {f"*{family}*": own for family, own in others(name).items()}
    return dict(sorted(found.items(), key=lambda it: -mean([it[1].get(b, 0) for b in BUDGETS])))


def table(known: Sequence[dict[str, Any]], name: str) -> str:
    lines = [
        f"| method | {' | '.join(map(str, BUDGETS))} |",
        "|---|" + "---:|" * len(BUDGETS),
    ]
    for method, own in standing(known, name).items():
        cells = [f"{own[it]:.1f}" if it in own else "" for it in BUDGETS]
        lines.append(f"| {method} | {' | '.join(cells)} |")
    return "\n".join(lines)


def picture(known: Sequence[dict[str, Any]], names: Sequence[str]) -> None:
    """All methods of each model; ours and the best of the others named and drawn in colour."""
    title, note = "Every method at equal cost", f"{STEPS} steps, {HELD_OUT} held-out samples"
    note += f"; the best {NAMED} of each model are named, all others grey"
    size = (5.6 * len(names) + 0.4, 4.8)
    with drawing(DOCUMENT.with_suffix(".png"), size, title, note, right=2.7) as figure:
        figure.get_layout_engine().set(wspace=0.75)
        ends: dict[Any, list[Label]] = {}
        for axes, name in zip(figure.subplots(1, len(names), squeeze=False)[0], names):
            found = {method: own for method, own in standing(known, name).items() if own}
            told = list(found)[:NAMED]
            looked = looks((method, house(method)) for method in told)
            named_axes(axes, "cost of the network (plain steps' FLOPs)", "latent PSNR (dB)")
            axes.set(title=name, xticks=BUDGETS)
            for method, own in found.items():
                look = looked.get(method)
                axes.plot(
                    own.keys(), own.values(), marker=look.marker if look else "o",
                    color=LIGHT.colour(look.hue if look else "grid"),
                    linewidth=look.width if look else 0.8, markersize=4 if look else 2.5,
                    zorder=3 if look else 2,
                )  # fmt: skip
                if look:
                    last = max(own)
                    label = Label(last, own[last], method.strip("*"), look.hue, look.ours)
                    ends.setdefault(axes, []).append(label)
        for axes, labels in ends.items():
            label_ends(axes, labels, LIGHT)


def house(method: str) -> str:
    """The family by which charts everywhere know a method."""
    if method in (OURS, LEARNED):
        return "learned"
    first, _, then = method.strip("*").partition(", ")
    if method.startswith("*"):
        return HOUSES[method.strip("*")]
    return family_of(then if first == "warped" else first)


def report(known: Sequence[dict[str, Any]]) -> None:
    names = [name for name in MODELS if any(row["model"] == name for row in known)]
    picture(known, names)
    parts = [f"### `{name}`\n\n{table(known, name)}" for name in names]
    before, _, rest = DOCUMENT.read_text().partition(START)
    after = rest.partition(END)[2]
    inside = "\n\n".join(parts)
    DOCUMENT.write_text(f"{before}{START}\n\n{inside}\n\n{END}{after}")


def main() -> None:
    logging.set_verbosity_error()
    torch.manual_seed(0)
    path = RESULTS / "field.json"
    known = json.loads(path.read_text())["rows"] if path.exists() else []
    for name in () if "--report" in sys.argv else sys.argv[1:] or MODELS:
        measure(name, known)
    report(known)


if __name__ == "__main__":
    main()
