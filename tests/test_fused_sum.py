"""The Triton kernel against the CPU's sum, in Triton's interpreter."""

from __future__ import annotations

import importlib
import sys

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from forecastcache._util.weighted_sum import weighted_sum

pytest.importorskip("triton")
MODULE = "forecastcache._util.triton_sum"


@pytest.fixture(scope="module")
def fused_sum():
    """The kernel, interpreted: Triton asks for the variable where a kernel is defined."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("TRITON_INTERPRET", "1")
        patch.delitem(sys.modules, MODULE, raising=False)
        yield importlib.import_module(MODULE).fused_sum
    sys.modules.pop(MODULE, None)


@settings(max_examples=40)
@given(
    count=st.integers(1, 9),
    size=st.sampled_from([1, 7, 1023, 1024, 5000]),
    stored=st.sampled_from([torch.float32, torch.bfloat16, torch.float16]),
    returned=st.sampled_from([torch.float32, torch.bfloat16]),
    seed=st.integers(0, 9),
)
def test_it_sums_as_the_cpu_does(fused_sum, count, size, stored, returned, seed):
    generator = torch.Generator().manual_seed(seed)
    tensors = [torch.randn(size, generator=generator).to(stored) for _ in range(count)]
    weights = torch.randn(count, generator=generator, dtype=torch.float64).tolist()
    terms = list(zip(weights, tensors, strict=True))
    got = fused_sum(terms, torch.empty(size, dtype=returned))
    expected = weighted_sum(terms, returned)
    # Both accumulate in float32 and round once, but the kernel may fuse a product with its sum.
    scale = sum(abs(w) * x.float().abs().max().item() for w, x in terms)
    near = torch.finfo(returned).eps * expected.float().abs() + 1e-6 * scale
    assert got.dtype == returned
    assert (got.float() - expected.float()).abs().le(near).all()


def test_it_reads_no_further_than_the_tensors_go(fused_sum):
    """The last block is not whole: what lies behind it is another's."""
    behind = torch.full((2048,), torch.nan)
    behind[:1500] = 1.0
    out = torch.zeros(2048)
    fused_sum([(2.0, behind[:1500]), (3.0, behind[:1500])], out[:1500])
    assert out[:1500].eq(5.0).all()
    assert out[1500:].eq(0.0).all()
