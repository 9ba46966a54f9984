"""The weighted sum as one Triton kernel: each tensor is read once, the result written once."""

from __future__ import annotations

from collections.abc import Sequence

import triton
import triton.language as tl
from torch import Tensor

BLOCK = 1024  # elements of a program


@triton.jit  # type: ignore[untyped-decorator]
def _sum_kernel(out, sources, weights, size, COUNT: tl.constexpr, BLOCK: tl.constexpr):  # type: ignore[no-untyped-def]
    places = tl.program_id(0).to(tl.int64) * BLOCK + tl.arange(0, BLOCK)
    inside = places < size
    total = weights[0] * tl.load(sources[0] + places, mask=inside).to(tl.float32)
    for i in tl.static_range(1, COUNT):
        total += weights[i] * tl.load(sources[i] + places, mask=inside).to(tl.float32)
    tl.store(out + places, total.to(out.dtype.element_ty), mask=inside)


def fused_sum(terms: Sequence[tuple[float, Tensor]], out: Tensor) -> Tensor:
    """Write the sum of weight times tensor to `out`, accumulated in float32.

    Args:
        terms: weights, each with a contiguous tensor of the shape and device of `out`.
        out: contiguous tensor.

    Returns:
        `out`.
    """
    weights, tensors = zip(*terms, strict=True)
    grid = (triton.cdiv(out.numel(), BLOCK),)
    _sum_kernel[grid](out, tensors, weights, out.numel(), COUNT=len(terms), BLOCK=BLOCK)
    return out
