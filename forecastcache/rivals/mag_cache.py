"""MagCache, which measures a model before it skips any of its steps."""

from __future__ import annotations

import ast
import io
from collections.abc import MutableMapping
from contextlib import redirect_stdout
from dataclasses import dataclass, replace
from typing import Annotated, Any, ClassVar
from weakref import WeakKeyDictionary

from diffusers import MagCacheConfig
from pydantic import Field

from forecastcache.errors import OptionError
from forecastcache.rivals.diffusers_caches import DiffusersCache, put_on
from forecastcache.rivals.rival import RivalOptions
from forecastcache.sampling import Request

Ratios = list[float]
# Of each model, with the request that they were measured for: settings of one model share them.
MEASURED: MutableMapping[Any, tuple[str, Ratios]] = WeakKeyDictionary()


class Skips(RivalOptions):
    """Options of MagCache.

    Attributes:
        threshold: accumulated error, up to which steps are skipped.
        skip: steps skipped in a row at the most.
        retention: share of leading steps that are all computed.
    """

    threshold: Annotated[float, Field(gt=0)] = 0.06
    skip: Annotated[int, Field(ge=1)] = 3
    retention: Annotated[float, Field(ge=0, lt=1)] = 0.2


@dataclass(frozen=True)
class MagCache(DiffusersCache):
    """MagCache: the residual of all blocks is reused while its size is known to change little.

    The ratios of that size from step to step are measured as its documentation says, in a plain
    run of the first sample asked for under a seed that nothing is asked for under. Guidance in two
    calls gives two lists, of which it uses the first, the conditional.
    """

    options: Skips
    speed: ClassVar = ("threshold", "skip", "retention")

    def config(self, pipe: Any, model: Any, request: Request) -> Any:
        of, ratios = MEASURED.get(model, ("", []))
        if of != repr(request):
            ratios = _ratios(pipe, model, request, self.name)
            MEASURED[model] = (repr(request), ratios)
        return MagCacheConfig(
            threshold=self.options.threshold,
            max_skip_steps=self.options.skip,
            retention_ratio=self.options.retention,
            num_inference_steps=request.steps,
            mag_ratios=ratios,
        )


def _ratios(pipe: Any, model: Any, request: Request, name: str) -> Ratios:
    parts = request.split(pipe, 1)
    unasked = max(part.seeds[0] for part in parts) + 1
    config = MagCacheConfig(calibrate=True, num_inference_steps=request.steps)
    with put_on(model, config, name), redirect_stdout(io.StringIO()) as printed:
        replace(parts[0], seeds=(unasked,)).run(pipe)
    lists = [line for line in printed.getvalue().splitlines() if line.startswith("[1.0")]
    if not lists:
        raise OptionError(
            f"{name} cannot be measured: after {request.steps} steps of {type(model).__name__} "
            "diffusers prints no ratios"
        )
    ratios: Ratios = ast.literal_eval(lists[0])
    return ratios
