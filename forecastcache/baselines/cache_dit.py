"""cache-dit's DBCache, at given steps, with its TaylorSeer or its FoCa."""

from __future__ import annotations

import importlib.util
import logging
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from typing import Annotated, Any, ClassVar, Literal

from pydantic import BeforeValidator, Field, WithJsonSchema, model_validator

from forecastcache.baselines.baseline import Baseline, calls_twice
from forecastcache.baselines.restore import restored
from forecastcache.engine.attach import denoisers
from forecastcache.errors import OptionError
from forecastcache.evaluation.method import Applied
from forecastcache.sampling.request import Request

LEADING = 4  # its first differences exist from the fourth step on; before, it reuses


def _split(text: Any) -> Any:
    return text.split("-") if isinstance(text, str) else text


DashedSteps = Annotated[
    tuple[int, ...],
    BeforeValidator(_split),
    WithJsonSchema({"type": "steps such as 0-1-2-3-10-20"}),
]


class CacheDiT(Baseline):
    """DBCache with its first block computed in every step, which it needs at the least.

    Args:
        interval: steps from one computed step to the next.
        first: number of leading steps that are computed.
        computed: computed steps one by one, instead of `interval` and `first`.
        calibrator: method that fills in the others.
        order: order of the Taylor series.
    """

    interval: Annotated[int, Field(ge=2)] = 7
    first: Annotated[int, Field(ge=1)] = LEADING
    computed: DashedSteps | None = None
    calibrator: Literal["taylorseer", "foca"] = "taylorseer"
    order: Annotated[int, Field(ge=1)] = 1
    speed: ClassVar = ("interval", "first", "computed")

    @model_validator(mode="after")
    def _not_at_odds(self) -> CacheDiT:
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
        if importlib.util.find_spec("cache_dit") is None:
            raise OptionError("cache-dit is not installed: pip install 'forecastcache[peers]'")
        steps = self.steps(total)
        if list(steps) != sorted(set(steps)) or steps[-1] >= total:
            raise OptionError(
                f"the computed steps are {'-'.join(map(str, steps))}, but the "
                f"trajectory has {total}: list rising ones from 0 to {total - 1}"
            )
        if steps[:LEADING] != tuple(range(LEADING)):
            raise OptionError(
                f"its first differences exist from step {LEADING - 1} on and until then it reuses "
                f"at any order: compute the first {LEADING} steps at least"
            )
        if len(steps) == total:
            raise OptionError(f"all {total} steps are computed: leave some out")

    @contextmanager
    def apply(self, pipe: Any, request: Request) -> Iterator[Applied]:
        with _silenced():
            import cache_dit
        models, _ = denoisers(pipe)
        config = self._config(cache_dit, pipe, request)
        with ExitStack() as stack:
            for model in models:
                stack.enter_context(restored(model))
            try:
                with _silenced():
                    cache_dit.enable_cache(
                        pipe, cache_config=config, calibrator_config=self._calibrator(cache_dit)
                    )
                yield Applied()
            finally:
                with _silenced():
                    cache_dit.disable_cache(pipe)

    def _config(self, cache_dit: Any, pipe: Any, request: Request) -> Any:
        computed = self.steps(request.steps)
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
        if self.calibrator == "foca":
            return cache_dit.FoCaCalibratorConfig()
        return cache_dit.TaylorSeerCalibratorConfig(taylorseer_order=self.order)


@contextmanager
def _silenced() -> Iterator[None]:
    """It prints to standard output what it does to every block."""
    heard = logging.root.manager.disable
    logging.disable(logging.WARNING)
    try:
        yield
    finally:
        logging.disable(heard)
