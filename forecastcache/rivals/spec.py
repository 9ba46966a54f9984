"""Rivals: what else makes a pipeline faster, by name and under its own best-known settings."""

from __future__ import annotations

from typing import Any

from pydantic import ValidationError

from forecastcache.errors import OptionError, UnknownNameError
from forecastcache.options import describe_options
from forecastcache.rivals.cache_dit import CacheDiT, Calibrated
from forecastcache.rivals.diffusers_caches import (
    AttentionSkip,
    FasterCache,
    FirstBlock,
    FirstBlockThreshold,
    Series,
    TaylorSeer,
    TaylorSeerLite,
)
from forecastcache.rivals.mag_cache import MagCache, Skips
from forecastcache.rivals.rival import Rival, RivalOptions
from forecastcache.rivals.solvers import FewerSteps, Steps
from forecastcache.spec import assignment, once

RIVALS: dict[str, tuple[type[Rival], type[RivalOptions]]] = {
    "steps": (FewerSteps, Steps),
    "taylorseer": (TaylorSeer, Series),
    "taylorseer-lite": (TaylorSeerLite, Series),
    "first-block": (FirstBlock, FirstBlockThreshold),
    "magcache": (MagCache, Skips),
    "fastercache": (FasterCache, AttentionSkip),
    "cache-dit": (CacheDiT, Calibrated),
}


def rival(spec: str, total: int) -> Rival:
    """The rival of a spec such as `steps:count=12,solver=unipc` or `taylorseer:interval=5`.

    Args:
        spec: a name, and options if any.
        total: steps of the plain run.

    Raises:
        UnknownNameError: nothing is called so.
        OptionError: it has no such option, the option does not take this value, or it is not
            installed.
    """
    name, _, rest = spec.partition(":")
    if name not in RIVALS:
        raise UnknownNameError(f"no rival is called {name!r}: write one of {', '.join(RIVALS)}")
    entry, kind = RIVALS[name]
    try:
        options = kind.model_validate(once(map(assignment, filter(None, rest.split(",")))))
        options.check(total)
    except ValidationError as error:
        raise OptionError(
            f"{name}: {_complaint(error.errors()[0])}; it takes {describe_options(kind)}"
        ) from None
    except ValueError as error:
        raise OptionError(f"{name}: {error}") from None
    return entry(spec, options)


def _complaint(error: Any) -> str:
    if not error["loc"]:
        return str(error["ctx"]["error"])
    option = ".".join(map(str, error["loc"]))
    if error["type"] == "extra_forbidden":
        return f"it has no option {option!r}"
    return f"{option}={error['input']!r}, but {error['msg'][0].lower()}{error['msg'][1:]}"
