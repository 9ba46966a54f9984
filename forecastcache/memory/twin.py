"""Twin: a copy of a model that has shapes but no data."""

from __future__ import annotations

import copy
from collections import OrderedDict
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from forecastcache.adapter import Adapter
from forecastcache.engine.token_shards import PARALLEL, parallel_hooks
from forecastcache.memory.without_data import WithoutData

# What a session, accelerate and diffusers put on a module; some of it holds weights.
HOOKS = {"forward", "_compiled_call_impl", "_old_forward", "_hf_hook", "_diffusers_hook"}


def twin_of(model: nn.Module, adapter: Adapter, without_data: WithoutData) -> nn.Module:
    """A structural copy of `model` without weights, hooks or need of data.

    Args:
        model: any module; its weights are neither read nor copied.
        adapter: record that serves it.
        without_data: maker of the tensors that stand for its parameters and buffers.
    """
    # Attention of one rank by itself has the shapes of that among all, and waits for nobody.
    memo: dict[int, Any] = {id(getattr(model, PARALLEL, None)): None}
    computed_in = _computed_in(model)
    for parameter in model.parameters():
        fake = without_data.like(parameter.data)
        fake = fake.to(computed_in.get(id(parameter), fake.dtype))
        memo[id(parameter)] = nn.Parameter(fake, requires_grad=False)
    for buffer in model.buffers():
        memo[id(buffer)] = without_data.known(buffer)
    for module in model.modules():
        for name in HOOKS & module.__dict__.keys():
            memo[id(module.__dict__[name])] = None
        for hooks in (module._forward_hooks, module._forward_pre_hooks):
            memo[id(hooks)] = OrderedDict()
    twin = copy.deepcopy(model, memo)
    for module in twin.modules():
        for name in HOOKS:
            module.__dict__.pop(name, None)
        if isinstance(module, nn.Linear) and _is_packed(module):
            module.forward = partial(_linear, module)  # type: ignore[method-assign]
    if adapter.without_data is not None:
        adapter.without_data(twin)
    if getattr(model, PARALLEL, None) is not None:
        for module, other in zip(model.modules(), twin.modules(), strict=True):
            _share_tokens(module, other)
    return twin


def _computed_in(model: nn.Module) -> dict[int, torch.dtype]:
    """The dtypes of weights that diffusers casts for the time in which their layer runs."""
    found: dict[int, torch.dtype] = {}
    for module in model.modules():
        hooks = getattr(module, "_diffusers_hook", None)
        hook = None if hooks is None else hooks.hooks.get("layerwise_casting")
        if hook is not None:
            weights = (it for it in module.parameters() if it.is_floating_point())
            found |= {id(it): hook.compute_dtype for it in weights}
    return found


def _share_tokens(module: nn.Module, twin: nn.Module) -> None:
    """Give a twin the hooks of context parallelism, by which it has the tokens of one rank."""
    from diffusers.hooks import HookRegistry

    for name, hook in parallel_hooks(module):
        HookRegistry.check_if_exists_or_initialize(twin).register_hook(copy.copy(hook), name)


def _is_packed(linear: nn.Linear) -> bool:
    """Whether a layer keeps its weight otherwise than as a matrix of real numbers.

    The layers of bitsandbytes and GGUF do; they unpack it with kernels that read data.
    """
    weight = linear.weight
    matrix = (linear.out_features, linear.in_features)
    return weight.shape != matrix or not weight.is_floating_point()


def _linear(linear: nn.Linear, input: Tensor) -> Tensor:
    weight = input.new_empty((linear.out_features, linear.in_features))
    bias = None if linear.bias is None else input.new_empty(linear.out_features)
    return F.linear(input, weight, bias)
