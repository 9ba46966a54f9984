"""Weighted sums, on a device, of tensors in host memory."""

from __future__ import annotations

from functools import cache

import torch
from torch import Tensor

from forecastcache._util.weighted_sum import Terms, weighted_sum

BLOCK = 1 << 21  # elements that are on their way while as many are summed


def sum_on(device: torch.device, terms: Terms, dtype: torch.dtype) -> Tensor:
    """The sum, on a device, of tensors in host memory, which for CUDA is pinned."""
    if device.type == "cuda":
        return from_pinned(device, terms, dtype)
    return weighted_sum(terms, dtype).to(device)


def from_pinned(device: torch.device, terms: Terms, dtype: torch.dtype) -> Tensor:
    """The sum, on a CUDA device, of tensors in pinned memory.

    They come in blocks on a stream of their own: while one block is summed the next is on its way,
    and the host waits for neither. It takes two blocks of each tensor beside the sum.
    """
    first = terms[0][1]
    out = torch.empty(first.shape, dtype=dtype, device=device)
    size = min(BLOCK, first.numel())
    staged = torch.empty((2, len(terms), size), dtype=first.dtype, device=device)
    weights = [weight for weight, _ in terms]
    summing, copying = torch.cuda.current_stream(device), _copying(device)
    copying.wait_stream(summing)  # which may still use this memory, or be filling the terms
    summed: list[torch.cuda.Event] = []
    pieces = zip(*(tensor.view(-1).split(size) for _, tensor in terms), strict=True)
    for i, (target, sources) in enumerate(zip(out.view(-1).split(size), pieces, strict=True)):
        block = [slot[: len(target)] for slot in staged[i % 2]]
        with torch.cuda.stream(copying):
            if i >= 2:
                copying.wait_event(summed[i - 2])
            for slot, source in zip(block, sources, strict=True):
                slot.copy_(source, non_blocking=True)
        summing.wait_stream(copying)
        target.copy_(weighted_sum(list(zip(weights, block, strict=True)), dtype))
        summed.append(summing.record_event())
    return out


@cache
def _copying(device: torch.device) -> torch.cuda.Stream:
    """The stream on which features come to a device."""
    return torch.cuda.Stream(device)
