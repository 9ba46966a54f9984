"""What predictors and schedules have in common: each is its own configuration."""

from __future__ import annotations

import pickle
from typing import TypeVar

from forecastcache.errors import ConformanceError
from forecastcache.options import Options
from forecastcache.testing.requirement import require

Configured = TypeVar("Configured", bound=Options)


def require_round_trips(thing: Options) -> None:
    """Go on if `thing` comes back equal from pickle and from JSON, and can be a key."""
    for way, copied in (("pickle", _through_pickle), ("JSON", _through_json)):
        try:
            copy = copied(thing)
            same_key = hash(copy) == hash(thing)
        except Exception as error:
            raise ConformanceError(
                f"{thing} does not come back from {way} ({error}): define its class at the top of "
                "a module, with fields that JSON can hold"
            ) from error
        require(copy == thing, f"{thing} came back from {way} as {copy}")
        require(same_key, f"{thing} and its copy from {way} differ in hash")


def _through_pickle(thing: Configured) -> Configured:
    copy: Configured = pickle.loads(pickle.dumps(thing))
    return copy


def _through_json(thing: Configured) -> Configured:
    return type(thing).model_validate_json(thing.model_dump_json())
