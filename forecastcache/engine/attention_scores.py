"""Attention scores: the attention that tokens receive, seen where torch computes it."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor
from torch.nn.functional import scaled_dot_product_attention
from torch.overrides import TorchFunctionMode

AT_ONCE = 2**24  # elements of the attention map that are in memory at a time


class AttentionReceived(TorchFunctionMode):
    """Sees the attention that is computed while it is entered, whatever kernel torch takes.

    Kernels keep the map of attention to themselves, so it is made anew from queries and keys.

    Attributes:
        scores: attention that each token receives `(batch, tokens, 1)` in float32, in that order
            in which the newest call has them; None where there was no call.
    """

    def __init__(self) -> None:
        super().__init__()
        self.scores: Tensor | None = None

    def __torch_function__(
        self, function: Any, types: Any, args: Any = (), kwargs: Any = None
    ) -> Any:
        kwargs = kwargs or {}
        if function is scaled_dot_product_attention:
            self.scores = received(*args, **kwargs)
        return function(*args, **kwargs)


def received(
    query: Tensor,
    key: Tensor,
    value: Tensor,
    attn_mask: Tensor | None = None,
    dropout_p: float = 0.0,
    is_causal: bool = False,
    scale: float | None = None,
    enable_gqa: bool = False,
) -> Tensor:
    """The columns' sums of the map of attention, in the mean over heads: `(batch, tokens, 1)`.

    Takes what `scaled_dot_product_attention` does, heads in the second dimension.

    Reference: ToCa (2410.05317), the influence s1 of a token on the others.
    """
    if enable_gqa:
        key = key.repeat_interleave(query.shape[1] // key.shape[1], 1)
    if is_causal:
        attn_mask = query.new_ones(query.shape[2], key.shape[2], dtype=torch.bool).tril()
    batch, heads, rows, channels = query.shape
    if attn_mask is not None:
        attn_mask = attn_mask.expand(*attn_mask.shape[:-2], rows, key.shape[2])
    scores = query.new_zeros(batch, key.shape[2], dtype=torch.float32)
    chunk = max(1, AT_ONCE // (batch * heads * key.shape[2]))
    keys = key.transpose(-2, -1) * (channels**-0.5 if scale is None else scale)
    for start in range(0, rows, chunk):
        logits = (query[:, :, start : start + chunk] @ keys).float()
        if attn_mask is not None:
            mask = attn_mask[..., start : start + chunk, :]
            shuts = mask.dtype == torch.bool
            logits = logits.masked_fill(~mask, -torch.inf) if shuts else logits + mask
        scores += logits.softmax(-1).mean(1).sum(1)
    return scores.unsqueeze(-1)
