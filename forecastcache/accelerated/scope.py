"""Scope: where what was learned of a pipeline holds."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from torch import nn

from forecastcache._util.fingerprint import digest, weights_fingerprint
from forecastcache.accelerated.call import Call
from forecastcache.calibration.identity import Part, parts_of
from forecastcache.engine.attach import denoisers


@dataclass(frozen=True)
class Scope:
    """A pipeline with its weights and sampler, and the numbers that it is called with.

    Attributes:
        facts: each of them by name, ready for JSON.
    """

    facts: Mapping[str, Any]

    @property
    def name(self) -> str:
        """A short name, other for every other scope, which may be that of a file."""
        kind = str(self.facts["pipeline"]).removesuffix("Pipeline").lower()
        return f"{kind}-{digest(json.dumps(dict(self.facts), sort_keys=True))}"

    def differs(self, other: Scope) -> list[str]:
        """What is not the same in another."""
        names = {**self.facts, **other.facts}
        return [name for name in names if self.facts.get(name) != other.facts.get(name)]


class Scopes:
    """Tells the scope of each call; weights are read again only when they may have changed."""

    def __init__(self) -> None:
        self._seen: object = None
        self._weights: str | None = None

    def of(self, call: Call) -> Scope:
        """The scope of a call that is yet to be made."""
        models, _ = denoisers(call.pipe)
        return Scope(
            {
                "pipeline": type(call.pipe).__name__,
                "model": " ".join(map(_words, models)),
                **_turns(call.pipe),
                "weights": self._fingerprint(models),
                "adapters": _adapters(models),
                "scheduler": _words(call.pipe.scheduler),
                "dtype": str(getattr(models[0], "dtype", None)),
                **call.numbers,
            }
        )

    def _fingerprint(self, models: list[nn.Module]) -> str | None:
        seen = [
            (name, weight.data_ptr(), weight._version)
            for model in models
            for name, weight in model.named_parameters()
        ]
        if seen != self._seen:
            self._seen, self._weights = seen, weights_fingerprint(*models)
        return self._weights


def _turns(pipe: Any) -> dict[str, float]:
    """The part of the times of training at which a second model takes over, where one does."""
    boundary = parts_of(pipe)["boundary"]
    return {} if boundary is None else {"boundary_ratio": boundary}


def _words(thing: Any) -> str:
    part = Part.of(thing)
    return f"{part.name} {part.config}"


def _adapters(models: list[nn.Module]) -> str:
    """What LoRA layers are switched on, and how strongly; their weights are among the others."""
    found = [
        (getattr(module, "scaling", None), module.active_adapters, module.disable_adapters)
        for model in models
        for module in model.modules()
        if hasattr(module, "lora_A")
    ]
    return digest(repr(found)) if found else "none"
