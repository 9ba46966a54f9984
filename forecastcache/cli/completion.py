"""Completion: what the shell offers after a model, a predictor, a schedule, a site and so on."""

from __future__ import annotations

from collections.abc import Callable, Iterable

from forecastcache import zoo
from forecastcache.granularity import GRANULARITIES
from forecastcache.registry import PREDICTORS, SCHEDULES, declared

Completer = Callable[[str], list[str]]


def _offering(names: Callable[[], Iterable[str]]) -> Completer:
    def complete(incomplete: str) -> list[str]:
        return [name for name in names() if name.startswith(incomplete)]

    return complete


models = _offering(lambda: [zoo.PREFIX + name for name in zoo.MODELS])
predictors = _offering(PREDICTORS.names)
schedules = _offering(SCHEDULES.names)
sites = _offering(lambda: GRANULARITIES)
devices = _offering(lambda: ("auto", "cpu", "cuda", "mps"))
# By their entry points alone: their modules take seconds to import.
baselines = _offering(lambda: sorted(declared("forecastcache.baselines")))
metrics = _offering(lambda: sorted(declared("forecastcache.metrics")))
