"""Fingerprints: short names of data and of weights, by which two of them are told apart."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from hashlib import sha256
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils._python_dispatch import is_traceable_wrapper_subclass

COLUMNS = 1024  # sums that are taken of each tensor


def digest(data: str | bytes) -> str:
    """A short name of some data; other data have another."""
    return sha256(data.encode() if isinstance(data, str) else data).hexdigest()[:12]


def weights_fingerprint(*models: nn.Module) -> str | None:
    """A short name of the weights of some models; None where some are not in memory.

    Every number counts, rounded to bfloat16: models loaded in float32 and in bfloat16 have the
    same fingerprint, on whatever device. It reads all weights once and copies few of them. Of
    weights that are shared out among processes it is the same too, and all of them must ask.
    """
    found = sha256()
    for model in models:
        for name, tensor in model.named_parameters():
            if tensor.is_meta:
                return None
            found.update(f"{name} {tuple(tensor.shape)}".encode())
            for part in _parts(tensor.detach()):
                found.update(_sums(part).cpu().numpy().tobytes())
    return found.hexdigest()[:12]


def _parts(tensor: Tensor) -> Iterator[Tensor]:
    """The plain tensors that one consists of: codes and scales, where it is quantised."""
    if hasattr(tensor, "full_tensor"):  # a shard of one: every process asks for all of it
        tensor = tensor.full_tensor()
    if is_traceable_wrapper_subclass(tensor):
        names, _ = tensor.__tensor_flatten__()
        for name in names:
            yield from _parts(getattr(tensor, name))
    else:
        yield tensor


def _sums(tensor: Tensor) -> Tensor:
    """Sums of the bits of every 1024th number: whole numbers, exact in whatever order."""
    if tensor.is_floating_point():
        bits = tensor.to(torch.bfloat16).flatten().view(torch.int16)
    else:
        bits = tensor.flatten()
    whole = bits.numel() // COLUMNS * COLUMNS
    sums = bits[:whole].view(-1, COLUMNS).sum(0, dtype=torch.int64)
    return torch.cat([sums, bits[whole:].to(torch.int64)])


def as_json(value: Any) -> Any:
    """Arguments of any kind, ready for JSON; tensors and pictures by size and digest."""
    if isinstance(value, Mapping):
        return {str(key): as_json(it) for key, it in value.items()}
    if isinstance(value, (list, tuple)):
        return [as_json(it) for it in value]
    if isinstance(value, Tensor):
        return f"tensor {tuple(value.shape)} {digest(value.double().cpu().numpy().tobytes())}"
    if hasattr(value, "tobytes") and hasattr(value, "size"):  # a picture or an array
        return f"{type(value).__name__} {value.size} {digest(value.tobytes())}"
    return value if isinstance(value, (str, int, float, bool, type(None))) else str(value)
