"""Ways of making a pipeline faster: sessions of ours, and what people would use otherwise."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, Literal, Protocol

import forecastcache as fc
from forecastcache.sampling.request import Request

INTERVAL = 6
Offload = Literal["cpu"] | None


class Way(Protocol):
    """A way of making a pipeline faster.

    Attributes:
        name: name in the rows.
        warm_up: number of steps after which it has forecast in every way that it will.
        keeps: the site and the number of features that it keeps there; None where it is not known.
        figures: what a row says of it.
    """

    name: str
    warm_up: int

    @property
    def keeps(self) -> tuple[Any, int] | None: ...

    @property
    def figures(self) -> dict[str, Any]: ...

    def passes(self, steps: int) -> float:
        """The number of whole steps that it computes, or takes as long as, at the most."""

    def put_on(self, pipe: Any, steps: int, warming: bool) -> Any:
        """A context in which the pipeline is faster; it gives the session if there is one."""


@dataclass(frozen=True)
class Ours:
    """A session of forecastcache."""

    name: str
    site: Any
    schedule: fc.Schedule
    predictor: fc.Predictor
    offload: Offload = None

    @property
    def warm_up(self) -> int:
        return 2 * self.predictor.depth

    @property
    def keeps(self) -> tuple[Any, int]:
        return self.site, self.predictor.depth

    @property
    def figures(self) -> dict[str, Any]:
        return {"site": self.site, "how": f"{self.schedule}, {self.predictor}"}

    def passes(self, steps: int) -> float:
        return len(self.schedule.computed(steps))

    def put_on(self, pipe: Any, steps: int, warming: bool) -> fc.Session:
        # A forecast of one feature, of two, ...: each has a kernel of its own to be compiled.
        begin = fc.Listed(range(0, self.warm_up, 2))
        schedule = begin if warming else self.schedule
        return fc.attach(pipe, schedule, self.predictor, site=self.site, offload=self.offload)


@dataclass(frozen=True)
class Theirs:
    """A baseline; `computes` gives the whole steps that it takes as long as, of so many."""

    name: str
    baseline: fc.Baseline
    computes: Callable[[int], float]
    warm_up: int = 5
    keeps: None = None

    @property
    def figures(self) -> dict[str, Any]:
        return {"site": None, "how": str(self.baseline)}

    def passes(self, steps: int) -> float:
        return self.computes(steps)

    @contextmanager
    def put_on(self, pipe: Any, steps: int, warming: bool) -> Iterator[None]:
        # The prompt is asked of every request, and not read.
        with self.baseline.apply(pipe, Request(steps=steps, prompts=("",))):
            yield


def evenly(steps: int) -> fc.Listed:
    """Every sixth step: 9 computed of 50, the last of them 48."""
    return fc.Listed(range(0, steps - 1, INTERVAL))


def ours(steps: int) -> list[Ours]:
    """Outputs, and attention and MLPs as TaylorSeer has them."""
    every = fc.Every(INTERVAL, first=3)
    return [
        Ours("ours, output, Taylor 1", "output", evenly(steps), fc.Taylor(1)),
        Ours("ours, module, Taylor 1", "module", every, fc.Taylor(1)),
        Ours("ours, module, Taylor 2", "module", every, fc.Taylor(2)),
    ]


def theirs() -> list[Theirs]:
    """TaylorSeer of diffusers, with attention alone and as a whole, and that of cache-dit."""
    from forecastcache.baselines.cache_dit import CacheDiT
    from forecastcache.baselines.diffusers_caches import TaylorSeer, TaylorSeerLite

    options = {"interval": INTERVAL, "order": 1}
    dit = CacheDiT(**options)

    def lite(steps: int) -> float:
        return 4 + (steps - 4) / INTERVAL

    return [
        Theirs("diffusers TaylorSeer lite", TaylorSeerLite(**options), lite),
        Theirs("cache-dit TaylorSeer", dit, lambda steps: len(dit.steps(steps))),
        Theirs("diffusers TaylorSeer, attention alone", TaylorSeer(**options), float),
    ]
