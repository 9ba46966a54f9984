"""Baselines at their best: settings chosen on calibration prompts, for each budget."""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property, partial
from statistics import median
from typing import Any

import numpy as np
from fidelity import Fidelity, best_schedule
from torch import Tensor

from forecastcache.baselines.baseline import baseline_method
from forecastcache.baselines.cache_dit import LEADING
from forecastcache.calibration.schedule_search import search
from forecastcache.evaluation.measure import CountedRun, latent_psnr
from forecastcache.evaluation.method import Method, Plain
from forecastcache.sampling.loading import load
from forecastcache.sampling.request import Request
from forecastcache.sampling.trajectory import trajectory_of
from forecastcache.schedule import Warped
from forecastcache.spec import as_text, parse_predictor

STEPS = 50
BUDGETS = range(6, 19)  # computed steps
PROMPTS = 6
SEED = 1000  # as calibrations have it
TRIES = 40  # schedules of the warped family, as many as for the rows of ours
MASKS = range(
    6, 19, 3
)  # computed steps of the masks that are searched for: each try is a whole run
SLACK = 1.02  # of a budget's FLOPs
GRIDS: dict[str, Mapping[str, Sequence[Any]]] = {
    "taylorseer-lite": {
        "interval": range(2, 13), "first": (1, 3), "last": (None, 46, 48), "order": (1, 2),
    },
    "first-block": {"threshold": np.geomspace(0.01, 1, 14).round(3).tolist()},
    "magcache": {
        "threshold": np.geomspace(0.03, 1, 5).round(3).tolist(), "skip": (3, 6, 9),
        "retention": (0.05, 0.2),
    },
    "fastercache": {"skip": (2, 3, 5)},
    "taylorseer": {"interval": (3, 5, 8)},
}  # fmt: skip
FORMULAS = ("taylor:order=1", "taylor:order=2", "newton:order=2", "bdf")
CACHE_DIT = ("calibrator=taylorseer", "calibrator=taylorseer,order=2", "calibrator=foca")


@dataclass(frozen=True)
class Trial:
    """A setting, what it costs and how near it ends, on calibration prompts."""

    spec: str
    latent_psnr_db: float
    count: int
    flops: int


class Trials:
    """Baselines on one model, tried on calibration prompts."""

    def __init__(self, model: str) -> None:
        self.pipe = load(model)
        self.pipe.set_progress_bar_config(disable=True)
        self.request = Request.of(
            model, split="calibration", seed=SEED, count=PROMPTS, steps=STEPS
        )

    @cached_property
    def plain(self) -> CountedRun:
        """Where the plain run of these prompts ends, and what it costs."""
        return self._run(Plain())

    @cached_property
    def fidelity(self) -> Fidelity:
        """How near schedules of a predictor end."""
        return Fidelity(self.pipe, self.request, PROMPTS)

    def searches(self) -> dict[str, Callable[[], list[str]]]:
        """What finds the settings worth a row, by a name of its own: the best for each budget."""
        grids = {
            name: partial(self._best, list(specs(name, grid))) for name, grid in GRIDS.items()
        }
        masks = {
            f"{options} {budget}": partial(self._mask, options, budget)
            for options in CACHE_DIT
            for budget in MASKS
        }
        formulas = {
            f"{formula} {budget}": partial(self._steps, formula, budget)
            for formula in FORMULAS
            for budget in BUDGETS
        }
        return {**grids, **masks, **formulas}

    def _run(self, method: Method) -> CountedRun:
        with method.apply(self.pipe, self.request) as applied:
            return CountedRun.of(self.pipe, self.request, applied)

    def _psnr(self, final: Tensor) -> float:
        near = latent_psnr(final, self.plain.latents[-1])
        return math.inf if near is None else near

    def _tried(self, spec: str) -> Trial | None:
        try:
            run = self._run(baseline_method(spec, STEPS))
            near = self._psnr(run.latents[-1])
        except Exception as error:  # of somebody else's code
            print(f"{spec}: {error}", flush=True)
            return None
        count = len(run.flops.computed(self.plain.flops))
        return Trial(spec, near, count, run.flops.total)

    def _best(self, grid: Sequence[str]) -> list[str]:
        """Of a grid the best for each budget; where all fail, one that shows how."""
        trials = [trial for spec in grid if (trial := self._tried(spec)) is not None]
        step = median(self.plain.flops.by_step)
        around = (
            self.plain.flops.total - step * STEPS
        )  # encoders, and a decoder that cannot be left out
        fits: list[Callable[[Trial, int], bool]] = [
            lambda it, budget: it.count <= budget,
            lambda it, budget: it.flops <= (around + step * budget) * SLACK,
        ]
        best = {
            max(within, key=lambda it: it.latent_psnr_db).spec
            for budget in BUDGETS
            for fit in fits
            if (within := [it for it in trials if fit(it, budget)])
        }
        nearest = max(trials, key=lambda it: it.latent_psnr_db).spec if trials else grid[0]
        return sorted(best) or [nearest]

    def _steps(self, formula: str, budget: int) -> list[str]:
        """A formula of the library at the best steps of the warped family."""
        predictor = parse_predictor(formula)
        steps = best_schedule(self.fidelity, budget, lambda _: predictor, TRIES)
        return [f"{formula} {as_text(steps)}"]

    def _mask(self, options: str, budget: int) -> list[str]:
        """The best mask of the warped family behind the leading steps, searched for as ours is."""
        leading = tuple(range(LEADING - 1))

        def spec(tail: tuple[int, ...]) -> str:
            return f"cache-dit:computed={'-'.join(map(str, leading + tail))},{options}"

        def error(tail: tuple[int, ...]) -> float:
            method = baseline_method(spec(tail), STEPS)
            with method.apply(self.pipe, self.request), trajectory_of(self.pipe) as trajectory:
                self.request.run(self.pipe)
            return -self._psnr(trajectory.samples[-1])

        first, later = LEADING - 1, budget - LEADING

        def behind(steps: tuple[int, ...]) -> tuple[int, ...]:
            return tuple(first + it for it in steps)

        try:
            found = search(lambda it: error(behind(it)), later + 1, STEPS - first, TRIES)
            return [spec(behind(found.computed))]
        except Exception as failed:
            print(f"{options}: {failed}", flush=True)
            return [spec(behind(Warped(later + 1).computed(STEPS - first)))]


def specs(name: str, grid: Mapping[str, Sequence[Any]]) -> Iterator[str]:
    """Every setting of a grid; None leaves an option out."""
    for values in itertools.product(*grid.values()):
        given = ",".join(f"{key}={it}" for key, it in zip(grid, values) if it is not None)
        yield f"{name}:{given}"
