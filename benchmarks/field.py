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
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import cached_property, partial
from statistics import mean, median
from tempfile import TemporaryDirectory
from typing import Any

import torch
from accelerated import PICTURES, learned
from diffusers.utils import logging
from field_page import BUDGETS, HELD_OUT, LEARNED, MODELS, OURS, report
from measure import RESULTS, paired, record
from tuning import SLACK, STEPS

import forecastcache as fc
from forecastcache.calibration.calibration import Calibration
from forecastcache.engine.attach import denoisers
from forecastcache.errors import AttachError
from forecastcache.evaluation.measure import CountedRun, latent_psnr
from forecastcache.evaluation.method import Applied
from forecastcache.registry import adapter_for
from forecastcache.sampling.loading import load
from forecastcache.sampling.request import Request
from forecastcache.spec import parse_predictor, parse_schedule

TRIED, SEED = 2, 1000  # samples, and the calibration split's seed
PAIRS = 3  # of timed runs
RULES = (
    "teacache", "firstblock", "magcache:in_a_row=12,retention=0.05", "easycache:first=1",
    "seacache", "adacache", "verified:first=1,in_a_row=20", "drift",
)  # fmt: skip
FILLED_IN = ("reuse", "taylor:order=1")
FORMULAS = (
    "reuse", "taylor:order=1", "taylor:order=2", "newton:order=2", "hermite", "bdf", "exponential",
    "variable-order", "meanvelocity", "resilphase", "twoanchor", "repay", "tap",
)  # fmt: skip
TOKENS = ("tokens:0.1", "tokens:0.3", "tokens:0.1,by=attention")  # of models that have the site


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

    def time(self, schedule: Any, predictor: Any, site: str = "output") -> float:
        """Seconds of a sample, as a share of a plain run's beside it."""

        def cached() -> None:
            with fc.attach(self.pipe, schedule, predictor, site=site):
                self.parts[0].run(self.pipe)

        return paired(cached, lambda: self.parts[0].run(self.pipe), PAIRS)[2]

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
        for site in self._partly_computed():
            found[f"warped, taylor:order=1, {site}"] = partial(self._fixed, "taylor", site)
        return found

    def _partly_computed(self) -> list[str]:
        """Sites at which a forecast step computes some tokens, or one block."""
        model = denoisers(self.pipe)[0][0]
        adapter = adapter_for(model)
        last = len(adapter.sites(model, "block")) - 1
        spans = [fc.Blocks(1, last), fc.Blocks(1, last, then=(0, last - 1))]
        tokens = TOKENS if "tokens" in adapter.granularities else ()
        return [*tokens, *map(str, spans)]

    def _row(
        self, budget: int, schedule: Any, predictor: Any, site: str = "output"
    ) -> dict[str, Any]:
        run = self.held_out.mean(schedule, predictor, site)
        return {
            "budget": budget, "latent_psnr_db": round(run.psnr, 2), "steps": round(run.steps, 2),
            "time": round(self.held_out.time(schedule, predictor, site), 3),
            "schedule": shown(str(schedule)),
        }  # fmt: skip

    def _ours(self) -> list[dict[str, Any]]:
        calibration, found = Calibration.load(self.model), []
        for budget in BUDGETS:
            found.append(self._row(budget, *calibration.choose(budget)))
        return found

    def _learned(self) -> list[dict[str, Any]]:
        """What `accelerate` learns at a guidance scale that the shipped calibration is not of."""
        request, found = self._calibration(PICTURES), []
        for budget in BUDGETS:
            with TemporaryDirectory() as folder:
                schedule, predictor, _ = learned(self.pipe, request, budget, folder)
            found.append(self._row(budget, schedule, predictor))
        return found

    def _rule(self, rule: str, predictor: str) -> list[dict[str, Any]]:
        fitted = fc.fit_schedule(self.pipe, self.tried.request, parse_schedule(rule))
        found = []
        for budget in BUDGETS:
            solved = self._solved(fitted, predictor, budget)
            if solved is not None:
                found.append(self._row(budget, solved, parse_predictor(predictor)))
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
                    found.append(self._row(budget, warped, forecaster, site))
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
