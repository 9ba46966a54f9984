"""Weighted sums of tensors, each read once."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import cache
from typing import TypeAlias

import torch
from torch import Tensor

BLOCK = 1 << 17  # elements a CPU thread accumulates at a time: their sum stays in its cache
Terms: TypeAlias = Sequence[tuple[float, Tensor]]


def weighted_sum(terms: Terms, dtype: torch.dtype) -> Tensor:
    """The sum of weight times tensor, accumulated in float32 or wider.

    On CUDA one kernel reads every tensor once and writes the sum once, where Triton is installed.
    On a CPU a large sum goes block by block, so that the block stays in the cache.

    Args:
        terms: at least one weight, each with a contiguous tensor; these are of one shape, dtype
            and device.
        dtype: dtype of the sum.
    """
    first = terms[0][1]
    wide = _wide(first.dtype, dtype)
    fused = _fused_sum() if first.is_cuda and wide == torch.float32 else None
    if fused is not None:
        return fused(terms, torch.empty_like(first, dtype=dtype))
    block = BLOCK * torch.get_num_threads() if first.device.type == "cpu" else first.numel()
    if first.numel() <= block:
        total = _accumulate(terms, torch.empty_like(first, dtype=wide))
        return total if dtype == wide else total.to(dtype)
    return _in_blocks(terms, block, wide, torch.empty_like(first, dtype=dtype))


def weighted_sums(sums: Sequence[Terms], dtype: torch.dtype) -> list[Tensor]:
    """Several sums with the same weights: as many launches as terms, however many sums.

    It holds all of them in the dtype that they accumulate in, so it is meant for small tensors.

    Args:
        sums: the terms of each, all tensors of one dtype and device; only weights of the first
            are read.
        dtype: dtype of the sums.
    """
    weights = [weight for weight, _ in sums[0]]
    columns = [[terms[i][1] for terms in sums] for i in range(len(weights))]
    stored = columns[0][0].dtype
    wide = _wide(stored, dtype)
    totals = [torch.empty_like(tensor, dtype=wide) for tensor in columns[0]]
    torch._foreach_copy_(totals, columns[0])
    torch._foreach_mul_(totals, weights[0])
    scratch = [] if stored == wide else [torch.empty_like(total) for total in totals]
    for weight, column in zip(weights[1:], columns[1:]):
        if scratch:  # tensors of two dtypes would be added one by one
            torch._foreach_copy_(scratch, column)
        torch._foreach_add_(totals, scratch or column, alpha=weight)
    if wide == dtype:
        return totals
    results = [torch.empty_like(total, dtype=dtype) for total in totals]
    torch._foreach_copy_(results, totals)
    return results


def _wide(stored: torch.dtype, returned: torch.dtype) -> torch.dtype:
    """The dtype to accumulate in: float32, or what is wider."""
    if stored == returned == torch.float32:
        return stored
    return torch.promote_types(torch.promote_types(stored, returned), torch.float32)


@cache
def _fused_sum() -> Callable[[Terms, Tensor], Tensor] | None:
    """The kernel; None in a build of torch without Triton."""
    try:
        from forecastcache._util.triton_sum import fused_sum
    except ImportError:
        return None
    return fused_sum


def _accumulate(terms: Terms, total: Tensor) -> Tensor:
    weight, tensor = terms[0]
    if tensor.dtype == total.dtype:
        torch.mul(tensor, weight, out=total)
    else:
        total.copy_(tensor).mul_(weight)
    for weight, tensor in terms[1:]:
        total.add_(tensor, alpha=weight)
    return total


def _in_blocks(terms: Terms, block: int, wide: torch.dtype, out: Tensor) -> Tensor:
    scratch = torch.empty(block, dtype=wide, device=out.device)
    weights = [weight for weight, _ in terms]
    pieces = zip(*(tensor.view(-1).split(block) for _, tensor in terms), strict=True)
    for target, sources in zip(out.view(-1).split(block), pieces, strict=True):
        total = target if out.dtype == wide else scratch[: len(target)]
        _accumulate(list(zip(weights, sources, strict=True)), total)
        if total is not target:
            target.copy_(total)
    return out
