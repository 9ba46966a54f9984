"""Shapes: what a dry run is told of a call, shapes and dtypes without data."""

from __future__ import annotations

import copy
from collections.abc import Callable
from types import BuiltinFunctionType, FunctionType, MethodType, ModuleType
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils import _pytree as pytree

from forecastcache.history import is_feature
from forecastcache.memory.known_values import is_kept

# Nothing in these depends on a call.
WHOLE = (nn.Module, type, FunctionType, BuiltinFunctionType, MethodType, ModuleType)


def shapes_of(arguments: Any) -> Any:
    """The arguments of a call, every tensor on the meta device: shape and dtype, no data.

    Small tensors of integers and booleans are copied as they are: masks, token numbers and
    positions decide how many tokens a model has. Objects such as caches of keys and values are
    copied with what they hold, so that a dry run changes nothing of the caller's.
    """
    return map_tensors(_without_data, arguments)


def in_dtype(arguments: Any, dtype: torch.dtype) -> Any:
    """The arguments of a call, every tensor of real numbers cast to `dtype`."""
    return pytree.tree_map(lambda x: x.to(dtype) if is_feature(x) else x, arguments)


def shapes_in(arguments: Any) -> tuple[object, ...]:
    """What tells calls apart whose dry runs differ.

    These are the shapes and dtypes of all tensors, and what is set by text, switches and counts.
    """
    found: list[object] = [
        leaf for leaf in pytree.tree_leaves(arguments) if isinstance(leaf, (str, int))
    ]
    map_tensors(lambda tensor: found.append((tensor.shape, tensor.dtype)), arguments)
    return tuple(found)


def values_in(arguments: Any) -> tuple[object, ...]:
    """The values that a dry run knows, in the order of the arguments."""
    found: list[object] = []
    map_tensors(
        lambda tensor: found.append(tensor.cpu().numpy().tobytes() if is_kept(tensor) else None),
        arguments,
    )
    return tuple(found)


def map_tensors(function: Callable[[Tensor], Any], arguments: Any) -> Any:
    """A copy of the arguments of a call in which every tensor is what `function` makes of it."""
    return _Mapping(function).of(arguments)


class _Mapping:
    def __init__(self, function: Callable[[Tensor], Any]) -> None:
        self._function = function
        # By identity: what is there twice is once in the copy. Kept alive, so that it stays one.
        self._done: dict[int, tuple[Any, Any]] = {}

    def of(self, nest: Any) -> Any:
        return pytree.tree_map(self._leaf, nest)

    def _leaf(self, value: Any) -> Any:
        if id(value) in self._done:
            return self._done[id(value)][1]
        if isinstance(value, Tensor):
            mapped = self._function(value)
            self._done[id(value)] = value, mapped
            return mapped
        if isinstance(value, WHOLE) or not hasattr(value, "__dict__"):
            return value
        try:
            mapped = copy.copy(value)
        except Exception:  # a lock, a handle: nothing of a call's shapes
            return value
        self._done[id(value)] = value, mapped
        if mapped is not value:
            mapped.__dict__.update({name: self.of(held) for name, held in vars(value).items()})
        return mapped


def _without_data(tensor: Tensor) -> Tensor:
    if is_kept(tensor):
        return tensor.detach().clone()
    return torch.empty_like(tensor, device="meta")
