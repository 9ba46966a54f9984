"""cache-dit's DBCache, at steps that are given, with its TaylorSeer or its FoCa."""

from __future__ import annotations

import importlib.util
import logging
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from typing import Annotated, Any, ClassVar, Literal

from pydantic import BeforeValidator, Field, WithJsonSchema, model_validator

from forecastcache.attachment import denoisers
from forecastcache.entry import Applied
from forecastcache.errors import OptionError
from forecastcache.rivals.restored import restored
from forecastcache.rivals.rival import Rival, RivalOptions, calls_twice
from forecastcache.sampling import Request

LEADING = 4  # its first differences exist from the fourth step on; before, it reuses


def _split(text: Any) -> Any:
    return text.split("-") if isinstance(text, str) else text


Listed = Annotated[
    tuple[int, ...],
    BeforeValidator(_split),
    WithJsonSchema({"type": "steps such as 0-1-2-3-10-20"}),
]


class Calibrated(RivalOptions):
    """Options of cache-dit.

    Attributes:
        interval: steps from one computed step to the next.
        first: leading steps that are computed.
        computed: the computed steps one by one, instead of `interval` and `first`.
        calibrator: how the others are filled in.
        order: of the Taylor series.
    """

    interval: Annotated[int, Field(ge=2)] = 7
    first: Annotated[int, Field(ge=1)] = LEADING
    computed: Listed | None = None
    calibrator: Literal["taylorseer", "foca"] = "taylorseer"
    order: Annotated[int, Field(ge=1)] = 1

    @model_validator(mode="after")
    def _not_at_odds(self) -> Calibrated:
        given = self.model_fields_set
        if self.computed is not None and given & {"interval", "first"}:
            raise ValueError("computed lists the steps by itself: leave out interval and first")
        if self.calibrator == "foca" and "order" in given:
            raise ValueError("calibrator=foca has no order: leave it out")
        return self

    def steps(self, total: int) -> tuple[int, ...]:
        """The computed steps of `total`."""
        if self.computed is not None:
            return self.computed
        return (*range(self.first), *range(self.first - 1 + self.interval, total, self.interval))

    def check(self, total: int) -> None:
        steps = self.steps(total)
        if list(steps) != sorted(set(steps)) or steps[-1] >= total:
            raise ValueError(
                f"the computed steps are {'-'.join(map(str, steps))}, but the "
                f"trajectory has {total}: list rising ones from 0 to {total - 1}"
            )
        if steps[:LEADING] != tuple(range(LEADING)):
            raise ValueError(
                f"its first differences exist from step {LEADING - 1} on and until then it reuses "
                f"at any order: compute the first {LEADING} steps at least"
            )
        if len(steps) == total:
            raise ValueError(f"all {total} steps are computed: leave some out")


@dataclass(frozen=True)
class CacheDiT(Rival):
    """DBCache with its first block computed in every step, which it needs at the least.

    Raises:
        OptionError: cache-dit is not installed.
    """

    options: Calibrated
    speed: ClassVar = ("interval", "first", "computed")

    def __post_init__(self) -> None:
        if importlib.util.find_spec("cache_dit") is None:
            raise OptionError("cache-dit is not installed: pip install 'forecastcache[peers]'")

    @contextmanager
    def on(self, pipe: Any, request: Request) -> Iterator[Applied]:
        with _unheard():
            import cache_dit
        models, _ = denoisers(pipe)
        config = self._config(cache_dit, pipe, request)
        with ExitStack() as stack:
            for model in models:
                stack.enter_context(restored(model))
            try:
                with _unheard():
                    cache_dit.enable_cache(
                        pipe, cache_config=config, calibrator_config=self._calibrator(cache_dit)
                    )
                yield Applied()
            finally:
                with _unheard():
                    cache_dit.disable_cache(pipe)

    def _config(self, cache_dit: Any, pipe: Any, request: Request) -> Any:
        computed = self.options.steps(request.steps)
        return cache_dit.DBCacheConfig(
            Fn_compute_blocks=1,
            Bn_compute_blocks=0,
            max_warmup_steps=LEADING,
            steps_computation_mask=[int(step in computed) for step in range(request.steps)],
            steps_computation_policy="static",
            enable_separate_cfg=calls_twice(pipe, request),
            num_inference_steps=request.steps,
        )

    def _calibrator(self, cache_dit: Any) -> Any:
        if self.options.calibrator == "foca":
            return cache_dit.FoCaCalibratorConfig()
        return cache_dit.TaylorSeerCalibratorConfig(taylorseer_order=self.options.order)


@contextmanager
def _unheard() -> Iterator[None]:
    """It prints to standard output what it does to every block."""
    heard = logging.root.manager.disable
    logging.disable(logging.WARNING)
    try:
        yield
    finally:
        logging.disable(heard)
