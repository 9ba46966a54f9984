"""MagCache, which measures a model before it skips any of its steps."""

from __future__ import annotations

import ast
import io
from collections.abc import MutableMapping
from contextlib import redirect_stdout
from dataclasses import replace
from typing import Annotated, Any, ClassVar
from weakref import WeakKeyDictionary

from diffusers import MagCacheConfig
from pydantic import Field

from forecastcache.baselines.diffusers_caches import DiffusersCache, put_on
from forecastcache.errors import OptionError
from forecastcache.sampling.request import Request

Ratios = list[float]
# Ratios of each model, with the request that they were measured for: its settings share them.
MEASURED: MutableMapping[Any, tuple[str, Ratios]] = WeakKeyDictionary()


class MagCache(DiffusersCache):
    """MagCache: the residual of all blocks is reused while its size is known to change little.

    The ratios of that size from step to step are measured as its documentation says, in a plain
    run of the first sample asked for under a seed that nothing is asked for under. Guidance in two
    calls gives two lists, of which it uses the first, the conditional.

    Args:
        threshold: accumulated error up to which steps are skipped.
        skip: number of steps skipped in a row, at most.
        retention: share of leading steps that are all computed.
    """

    threshold: Annotated[float, Field(gt=0)] = 0.06
    skip: Annotated[int, Field(ge=1)] = 3
    retention: Annotated[float, Field(ge=0, lt=1)] = 0.2
    speed: ClassVar = ("threshold", "skip", "retention")

    def config(self, pipe: Any, model: Any, request: Request) -> Any:
        of, ratios = MEASURED.get(model, ("", []))
        if of != repr(request):
            ratios = _ratios(pipe, model, request)
            MEASURED[model] = (repr(request), ratios)
        return MagCacheConfig(
            threshold=self.threshold,
            max_skip_steps=self.skip,
            retention_ratio=self.retention,
            num_inference_steps=request.steps,
            mag_ratios=ratios,
        )


def _ratios(pipe: Any, model: Any, request: Request) -> Ratios:
    parts = request.split(pipe, 1)
    unasked = max(part.seeds[0] for part in parts) + 1
    config = MagCacheConfig(calibrate=True, num_inference_steps=request.steps)
    with put_on(model, config), redirect_stdout(io.StringIO()) as printed:
        replace(parts[0], seeds=(unasked,)).run(pipe)
    lists = [line for line in printed.getvalue().splitlines() if line.startswith("[1.0")]
    if not lists:
        raise OptionError(
            f"it cannot be measured: after {request.steps} steps of {type(model).__name__} "
            "diffusers prints no ratios"
        )
    ratios: Ratios = ast.literal_eval(lists[0])
    return ratios
