"""forecastcache list: what is installed."""

from __future__ import annotations

import json

from forecastcache import zoo
from forecastcache.adapter import Adapter
from forecastcache.cli.console import print_list
from forecastcache.cli.options import JsonOption
from forecastcache.options import describe_options
from forecastcache.registry import ADAPTERS, PREDICTORS, SCHEDULES


def list_command(as_json: JsonOption = False) -> None:
    """Show what is installed: predictors, schedules, adapters, baselines, metrics, zoo models."""
    # Imported here: diffusers takes seconds that the other commands need not wait for.
    from forecastcache.baselines.baseline import BASELINES
    from forecastcache.metrics.metric import METRICS, metric_kind

    found = {
        "predictors": {name: _summary(kind) for name, kind in PREDICTORS.items()},
        "schedules": {name: _summary(kind) for name, kind in SCHEDULES.items()},
        "adapters": {name: _serves(adapter) for name, adapter in ADAPTERS.items()},
        "baselines": {name: _summary(kind) for name, kind in BASELINES.items()},
        "metrics": {name: _summary(metric_kind(name)) for name, _ in METRICS.items()},
        "zoo": {zoo.PREFIX + name: it.about for name, it in zoo.MODELS.items()},
    }
    if as_json:
        print(json.dumps(found, indent=2))
        return
    print_list(found)


def _summary(kind: type) -> str:
    first_line = (kind.__doc__ or "").strip().partition("\n")[0]
    options = describe_options(kind)
    return f"{first_line} ({options})" if options else first_line


def _serves(adapter: Adapter) -> str:
    return f"{', '.join(adapter.models)}: {', '.join(adapter.granularities)}"
