"""Dry run: one computed and one forecast step of a model without data, for shapes and FLOPs."""

from __future__ import annotations

import copy
from collections import OrderedDict
from collections.abc import Iterable, Mapping
from contextlib import nullcontext
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode
from torch.utils import _pytree as pytree
from torch.utils.flop_counter import FlopCounterMode

from forecastcache.adapter import Adapter, Granularity
from forecastcache.engine.taps import Taps
from forecastcache.history import History, is_feature
from forecastcache.memory.autocast import Autocast, WithoutData, has_no_data

# What a session, accelerate and diffusers put on a module; some of it holds weights.
HOOKS = {"forward", "_compiled_call_impl", "_old_forward", "_hf_hook", "_diffusers_hook"}


def measured_bytes(histories: Iterable[History]) -> int:
    """Bytes that the histories hold."""
    return sum(history.nbytes for history in histories)


@dataclass(frozen=True)
class DryRun:
    """What one computed and one forecast step come to.

    Attributes:
        sites: meta tensors by path, one for each feature that a computed step keeps there.
        flops_computed: operations of a computed step as torch's FLOP counter counts them: matrix
            products, convolutions and attention, a multiplication and an addition each.
        flops_forecast: operations of a forecast step; the forecast itself is none of these.
    """

    sites: Mapping[str, tuple[Tensor, ...]]
    flops_computed: int
    flops_forecast: int

    def planned_bytes(self, depth: int, dtype: torch.dtype | None = None) -> int:
        """Bytes that one branch's histories of `depth` features hold, in `dtype` if given."""
        return depth * sum(stored_bytes(features, dtype) for features in self.sites.values())


def stored_bytes(features: Iterable[Tensor], dtype: torch.dtype | None = None) -> int:
    """Bytes of `features`, stored in `dtype` if given."""
    return sum(feature.numel() * (dtype or feature.dtype).itemsize for feature in features)


def dry_run(
    model: nn.Module,
    adapter: Adapter,
    granularity: Granularity,
    arguments: Mapping[str, Any],
    autocast: Autocast | None = None,
) -> DryRun:
    """Run one computed and one forecast step on the meta device: no data, no arithmetic.

    Args:
        model: any module; its weights are neither read nor copied.
        adapter: record that serves it.
        granularity: granularity of the sites.
        arguments: arguments of a call by name, as `shapes_of` returns them.
        autocast: mixed precision of the call; None for none.
    """
    stage = _Stage(model, adapter, granularity, autocast)

    def flops(computing: bool) -> int:
        with FlopCounterMode(display=False) as counter:
            stage.step(arguments, computing)
        return int(counter.get_total_flops())

    flops_computed, flops_forecast = flops(computing=True), flops(computing=False)
    return DryRun(stage.recorder.sites, flops_computed, flops_forecast)


def kept_features(
    model: nn.Module, adapter: Adapter, granularity: Granularity, arguments: Mapping[str, Any]
) -> dict[str, tuple[Tensor, ...]]:
    """Meta tensors by path, one for each feature that a computed step keeps.

    Args:
        model: any module; its weights are neither read nor copied.
        adapter: record that serves it.
        granularity: granularity of the sites.
        arguments: arguments of a call by name, as `shapes_of` returns them.
    """
    stage = _Stage(model, adapter, granularity)
    stage.step(arguments)
    return stage.recorder.sites


def shapes_of(arguments: Any) -> Any:
    """The arguments of a call with every tensor on the meta device: shape and dtype, no data."""
    return pytree.tree_map_only(Tensor, lambda x: torch.empty_like(x, device="meta"), arguments)


def in_dtype(arguments: Any, dtype: torch.dtype) -> Any:
    """The arguments of a call, every tensor of real numbers cast to `dtype`."""
    return pytree.tree_map(lambda x: x.to(dtype) if is_feature(x) else x, arguments)


def shapes_in(arguments: Any) -> list[tuple[torch.Size, torch.dtype]]:
    """What a dry run depends on: the shapes and dtypes of all tensors in the arguments."""
    leaves = pytree.tree_leaves(arguments)
    return [(leaf.shape, leaf.dtype) for leaf in leaves if isinstance(leaf, Tensor)]


class _Stage:
    """A tapped copy of a model without data."""

    def __init__(
        self,
        model: nn.Module,
        adapter: Adapter,
        granularity: Granularity,
        autocast: Autocast | None = None,
    ) -> None:
        self.recorder = _ShapeRecorder()
        self._mixed = None if autocast is None else WithoutData(autocast)
        self._twin = _meta_twin(model, adapter)
        if self._mixed is not None:
            _put_on_device(self._twin, self._mixed)
        self._taps = Taps.at(self._twin, adapter, granularity)

    def step(self, arguments: Mapping[str, Any], computing: bool = True) -> None:
        self.recorder.computing = computing
        mixed = self._mixed
        if mixed is not None:
            arguments = mixed.on_device(arguments)
        precision = nullcontext() if mixed is None else mixed.at_work()
        with precision, torch.no_grad(), _KnownSizes():
            self._taps.call(self._twin, self.recorder, self._twin.forward, (), arguments)


class _KnownSizes(TorchFunctionMode):
    """Replaces sizes that depend on data (slices, nonzero) by their upper bound."""

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        if func in (Tensor.__getitem__, Tensor.__setitem__):
            args = (args[0], pytree.tree_map(_whole_if_unknown, args[1]), *args[2:])
        if func is torch.nonzero and has_no_data(args[0]):
            return args[0].new_empty((args[0].numel(), args[0].ndim), dtype=torch.int64)
        return func(*args, **(kwargs or {}))


def _whole_if_unknown(index: Any) -> Any:
    unknown = isinstance(index, slice) and isinstance(index.stop, Tensor)
    return slice(index.start, None) if unknown else index


class _ShapeRecorder:
    def __init__(self) -> None:
        self.computing = True
        self.features: dict[str, Any] = {}

    def observe(self, path: str, feature: Any) -> None:
        self.features[path] = feature

    def forecast(self, path: str) -> Any:
        return self.features[path]

    @property
    def sites(self) -> dict[str, tuple[Tensor, ...]]:
        return {
            path: tuple(_on_meta(leaf) for leaf in pytree.tree_leaves(feature) if is_feature(leaf))
            for path, feature in self.features.items()
        }


def _on_meta(tensor: Tensor) -> Tensor:
    return torch.empty(tensor.shape, dtype=tensor.dtype, device="meta")


def _put_on_device(twin: nn.Module, mixed: WithoutData) -> None:
    """Parameters and buffers as fake tensors on the device whose autocast is set."""
    for module in twin.modules():
        for name, parameter in module._parameters.items():
            if parameter is not None:
                fake = mixed.on_device(parameter.data)
                module._parameters[name] = nn.Parameter(fake, requires_grad=False)
        for name, buffer in module._buffers.items():
            module._buffers[name] = mixed.on_device(buffer)


def _meta_twin(model: nn.Module, adapter: Adapter) -> nn.Module:
    """A structural copy of `model` on the meta device, without weights, hooks or need of data."""
    memo: dict[int, Any] = {}
    for parameter in model.parameters():
        empty = torch.empty_like(parameter, device="meta")
        memo[id(parameter)] = nn.Parameter(empty, requires_grad=False)
    for buffer in model.buffers():
        memo[id(buffer)] = torch.empty_like(buffer, device="meta")
    for module in model.modules():
        for name in HOOKS & module.__dict__.keys():
            memo[id(module.__dict__[name])] = None
        for hooks in (module._forward_hooks, module._forward_pre_hooks):
            memo[id(hooks)] = OrderedDict()
    twin = copy.deepcopy(model, memo)
    for module in twin.modules():
        for name in HOOKS:
            module.__dict__.pop(name, None)
    if adapter.without_data is not None:
        adapter.without_data(twin)
    return twin
