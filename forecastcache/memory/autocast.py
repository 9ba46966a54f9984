"""Autocast: the mixed precision of a call, so that a dry run has the dtypes of the run itself."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, NamedTuple

import torch
from torch import Tensor
from torch._subclasses.fake_tensor import FakeTensor, FakeTensorMode
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.utils import _pytree as pytree

from forecastcache._util.nests import tensors_in


class Autocast(NamedTuple):
    """What `torch.autocast` is set to.

    Attributes:
        device: type of the device that it is set for.
        dtype: dtype that matrix products run in.
    """

    device: str
    dtype: torch.dtype


class WithoutData:
    """Mixed precision for tensors that have no data.

    The meta device knows no autocast; fake tensors follow the rules of the device they name.

    Args:
        autocast: what is to act on them.
    """

    def __init__(self, autocast: Autocast) -> None:
        self._autocast = autocast
        self._fake = FakeTensorMode(allow_non_fake_inputs=True)

    @contextmanager
    def at_work(self) -> Iterator[None]:
        """The context in which a model runs."""
        device, dtype = self._autocast
        # torch counts no FLOPs of the fused attention that a CPU would take.
        attention = sdpa_kernel(SDPBackend.MATH)
        with self._fake, attention, torch.autocast(device, dtype=dtype):
            yield

    def on_device(self, nest: Any) -> Any:
        """A nest with its meta tensors as fake ones on the device."""

        def moved(tensor: Tensor) -> Tensor:
            shape, stride, device = tensor.shape, tensor.stride(), self._autocast.device
            return torch.empty_strided(shape, stride, dtype=tensor.dtype, device=device)

        with self._fake:
            return pytree.tree_map_only(Tensor, moved, nest)


def autocast_at(arguments: Any) -> Autocast | None:
    """The autocast that acts on a call with these arguments now; None where none does."""
    tensors = tensors_in(arguments)
    return autocast_on(tensors[0].device.type if tensors else "cpu")


def autocast_on(device: str) -> Autocast | None:
    """The autocast that acts on a type of device now; None where none does."""
    if device == "meta" or not torch.is_autocast_enabled(device):
        return None
    return Autocast(device, torch.get_autocast_dtype(device))


def has_no_data(tensor: Tensor) -> bool:
    """Whether a tensor is one of a dry run."""
    return tensor.is_meta or isinstance(tensor, FakeTensor)
