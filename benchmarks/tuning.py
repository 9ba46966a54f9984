"""Rivals at their best: settings chosen on calibration prompts, for every budget of the table."""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from forecastcache.calibration.search import climb, evenly
from forecastcache.entry import Entry
from forecastcache.evaluation.entries import Plain
from forecastcache.evaluation.flops import Flops, counted
from forecastcache.evaluation.measure import latent_psnr
from forecastcache.rivals.cache_dit import LEADING
from forecastcache.rivals.spec import rival
from forecastcache.sampling import Request, load
from forecastcache.track import tracked

STEPS = 50
BUDGETS = range(6, 19)  # computed steps
PROMPTS = 6
SEED = 1000  # as calibrations have it
CLIMB = 5  # masks tried from the best even one
SLACK = 1.02  # of a budget's FLOPs: encoders and decoders are part of a call
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
CACHE_DIT = ("calibrator=taylorseer", "calibrator=taylorseer,order=2", "calibrator=foca")


@dataclass(frozen=True)
class Trial:
    """A setting, what it costs and how near it ends, on calibration prompts."""

    spec: str
    psnr_db: float
    computed: int
    flops: int


class Trials:
    """Rivals of one model, tried on calibration prompts."""

    def __init__(self, model: str) -> None:
        self.model = model
        self.request = Request.of(
            model, split="calibration", seed=SEED, count=PROMPTS, steps=STEPS
        )
        self.pipe = load(model)
        self.pipe.set_progress_bar_config(disable=True)
        self.plain, self.spent = self._counted(Plain())

    def chosen(self) -> Iterator[str]:
        """Settings worth a row: the best of each family for each budget.

        A family that fails has its first setting among them, so that the table shows its error.
        """
        for name, grid in GRIDS.items():
            yield from self._best(self._tried(specs(name, grid)))
        for options in CACHE_DIT:
            for budget in BUDGETS:
                yield from self._mask(options, budget)

    def _final(self, entry: Entry, call: Callable[[Callable[[], None]], Any]) -> tuple[Any, Any]:
        """The latents that it ends at, and what `call` makes of the call."""
        with entry.on(self.pipe, self.request) as applied, tracked(self.pipe) as track:
            said = call(lambda: self.request.run(self.pipe, **applied.changes))
        return track.samples[-1], said

    def _counted(self, entry: Entry) -> tuple[Any, Flops]:
        return self._final(entry, lambda call: counted(self.pipe, call))

    def _psnr(self, final: Any) -> float:
        near = latent_psnr(final, self.plain)
        return math.inf if near is None else near

    def _trial(self, spec: str) -> Trial:
        final, spent = self._counted(rival(spec, STEPS))
        return Trial(spec, self._psnr(final), spent.computed(self.spent), spent.total)

    def _tried(self, chosen: Iterable[str]) -> list[Trial]:
        tried = []
        for spec in chosen:
            try:
                tried.append(self._trial(spec))
            except Exception as error:
                print(f"{self.model} {spec}: {error}", flush=True)
                return tried or [Trial(spec, -math.inf, 0, 0)]
        return tried

    def _best(self, trials: Sequence[Trial]) -> list[str]:
        whole = self.spent.total / STEPS * SLACK
        fits: list[Callable[[Trial, int], bool]] = [
            lambda it, budget: it.computed <= budget,
            lambda it, budget: it.flops <= whole * budget,
        ]
        best = {
            max(within, key=lambda it: it.psnr_db).spec
            for budget in BUDGETS
            for fit in fits
            if (within := [it for it in trials if fit(it, budget)])
        }
        return sorted(best) or [max(trials, key=lambda it: it.psnr_db).spec]

    def _mask(self, options: str, budget: int) -> list[str]:
        """The best mask: spread evenly to the best last step, then one step moved at a time."""

        def spec(computed: tuple[int, ...]) -> str:
            return f"cache-dit:computed={'-'.join(map(str, computed))},{options}"

        def error(computed: tuple[int, ...]) -> float:
            if computed[:LEADING] != tuple(range(LEADING)):
                return math.inf
            final, _ = self._final(rival(spec(computed), STEPS), lambda call: call())
            return -self._psnr(final)

        later = budget - LEADING
        starts = [
            (*range(LEADING), *(LEADING - 1 + it for it in evenly(later + 1, STEPS, last)[1:]))
            for last in (41, 43, 45)
        ]
        try:
            start = min(starts, key=error)
            return [spec(climb(error, start, STEPS, CLIMB, seed=budget).computed)]
        except Exception as failed:
            print(f"{self.model} {options}: {failed}", flush=True)
            return [spec(starts[0])]


def specs(name: str, grid: Mapping[str, Sequence[Any]]) -> Iterator[str]:
    """Every setting of a grid; None leaves an option out."""
    for values in itertools.product(*grid.values()):
        given = ",".join(f"{key}={it}" for key, it in zip(grid, values) if it is not None)
        yield f"{name}:{given}"
