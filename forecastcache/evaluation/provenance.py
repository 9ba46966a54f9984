"""Provenance: what rows are of, so that those of one thing are never taken for another's."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict
from importlib.metadata import PackageNotFoundError, version
from typing import Any

import torch
from PIL.Image import Image
from torch import Tensor, nn

from forecastcache.engine.attach import denoisers
from forecastcache.evaluation.store import digest
from forecastcache.sampling.request import Request

PACKAGES = ("forecastcache", "torch", "diffusers", "cache-dit")
FIRST = 16  # numbers of each tensor that tell one set of weights from another


def provenance(pipe: Any, request: Request, model: str) -> dict[str, Any]:
    """The model and its weights, the request, dtype, device and versions, ready for JSON."""
    (network, *_), _ = denoisers(pipe)
    return {
        "model": model or getattr(pipe, "name_or_path", None) or type(pipe).__name__,
        "weights": _weights(network),
        "request": _as_json(asdict(request)),
        "dtype": str(network.dtype).removeprefix("torch."),
        "device": pipe.device.type,
        "versions": {name: found for name in PACKAGES if (found := _version(name))},
    }


def _version(name: str) -> str | None:
    try:
        return version(name)
    except PackageNotFoundError:
        return None


def _weights(network: nn.Module) -> str:
    """A digest of the first numbers of every tensor: all of a large network takes a minute."""
    tensors = (it.detach() for it in network.parameters() if not it.is_meta)
    first = [it.flatten()[:FIRST].double().cpu() for it in tensors]
    return digest(torch.cat(first).numpy().tobytes()) if first else "not in memory"


def _as_json(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {str(key): _as_json(it) for key, it in value.items()}
    if isinstance(value, (list, tuple)):
        return [_as_json(it) for it in value]
    if isinstance(value, Tensor):
        return f"tensor {tuple(value.shape)} {digest(value.double().cpu().numpy().tobytes())}"
    if isinstance(value, Image):
        return f"picture {value.size} {digest(value.tobytes())}"
    return value if isinstance(value, (str, int, float, bool, type(None))) else str(value)
