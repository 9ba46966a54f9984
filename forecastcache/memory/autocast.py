"""Autocast: the mixed precision of a call, so that a dry run has the dtypes of the run itself."""

from __future__ import annotations

from typing import Any, NamedTuple

import torch

from forecastcache._util.nests import tensors_in


class Autocast(NamedTuple):
    """What `torch.autocast` is set to.

    Attributes:
        device: type of the device that it is set for.
        dtype: dtype that matrix products run in; None where it is off.
    """

    device: str = "cpu"
    dtype: torch.dtype | None = None


def autocast_at(arguments: Any) -> Autocast:
    """The autocast that acts on a call with these arguments now."""
    tensors = tensors_in(arguments)
    device = tensors[0].device.type if tensors else "cpu"
    return autocast_on(device) or Autocast("cpu" if device == "meta" else device)


def autocast_on(device: str) -> Autocast | None:
    """The autocast that acts on a type of device now; None where none does."""
    if device == "meta" or not torch.is_autocast_enabled(device):
        return None
    return Autocast(device, torch.get_autocast_dtype(device))
