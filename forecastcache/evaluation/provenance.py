"""Provenance: what rows are of, so that those of one thing are never taken for another's."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

from forecastcache._util.fingerprint import as_json, weights_fingerprint
from forecastcache.engine.attach import denoisers
from forecastcache.sampling.request import Request

PACKAGES = ("forecastcache", "torch", "diffusers", "cache-dit")


def provenance(pipe: Any, request: Request, model: str) -> dict[str, Any]:
    """The model and its weights, the request, dtype, device and versions, ready for JSON."""
    networks, _ = denoisers(pipe)
    return {
        "model": model or getattr(pipe, "name_or_path", None) or type(pipe).__name__,
        "weights": weights_fingerprint(*networks) or "not in memory",
        "request": as_json(asdict(request)),
        "dtype": str(networks[0].dtype).removeprefix("torch."),
        "device": pipe.device.type,
        "versions": {name: found for name in PACKAGES if (found := _version(name))},
    }


def model_in_titles(of: Mapping[str, Any]) -> str:
    """The name of the model that rows are of; of a folder its last part."""
    name = str(of["model"])
    return Path(name).name if Path(name).is_dir() else name


def to_agree_on(of: Mapping[str, Any], methods: Sequence[str]) -> dict[str, str]:
    """What processes that share an evaluation must have in common, by what a user calls it.

    Args:
        of: provenance of the rows.
        methods: a text for each row that tells it from any other.
    """
    named = {**of, **of["request"], "methods": methods}
    return {
        name: json.dumps(it, sort_keys=True) for name, it in named.items() if name != "request"
    }


def _version(name: str) -> str | None:
    try:
        return version(name)
    except PackageNotFoundError:
        return None
