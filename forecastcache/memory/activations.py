"""Activations: the most bytes that one call of a model holds at a time, found without data."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.overrides import TorchFunctionMode

from forecastcache.adapter import Adapter
from forecastcache.memory.live_bytes import LiveBytes
from forecastcache.memory.twin import twin_of
from forecastcache.memory.without_data import WithoutData


def activation_bytes(model: nn.Module, adapter: Adapter, arguments: Mapping[str, Any]) -> int:
    """Most bytes alive at a time in a call without gradients: arguments, results, what is between.

    The model runs once on the meta device, and every tensor is followed from the operation that
    makes it until it is freed. Attention is taken as torch's fused kernels do it: it holds its
    output and a float32 a query, never the scores. Weights, workspaces of kernels and the rounding
    of an allocator are not in it.

    Args:
        model: model on the meta device.
        adapter: record that serves it.
        arguments: arguments of a call by name, as `shapes_of` returns them.
    """
    without_data = WithoutData()
    twin = twin_of(model, adapter, without_data)
    given = without_data.given(arguments)
    live = LiveBytes()
    live.follow(given)
    with without_data.at_work(), _FusedAttention(), live:
        twin(**given)
    return live.peak


class _FusedAttention(TorchFunctionMode):
    """Attention by a fused kernel: on the meta device torch would make the scores as well."""

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        fused = func is F.scaled_dot_product_attention
        return (_attention if fused else func)(*args, **(kwargs or {}))


def _attention(
    query: Tensor, key: Tensor, value: Tensor, attn_mask: Tensor | None = None, *_: Any, **__: Any
) -> Tensor:
    if attn_mask is not None and attn_mask.dtype is torch.bool:
        attn_mask = attn_mask.to(query.dtype)  # alive for as long as the kernel runs
    *batch, heads, queries = query.shape[:-1]
    output = query.new_empty(*batch, queries, heads, value.shape[-1])
    query.new_empty(*batch, queries, heads, dtype=torch.float32)
    return output.transpose(-2, -3)
