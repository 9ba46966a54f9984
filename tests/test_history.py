from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

import forecastcache as fc
from forecastcache._util.weighted_sum import BLOCK

DTYPES = (torch.float64, torch.float32, torch.bfloat16, torch.float16)


def filled(depth: int, features: list[torch.Tensor], **options: object) -> fc.History:
    history = fc.History(depth, **options)
    for i, feature in enumerate(features):
        history.observe(fc.Step(i, 1.0 - i / 10), feature)
    return history


@given(depth=st.integers(1, 5), count=st.integers(0, 12))
def test_it_keeps_the_newest_in_order(depth, count):
    features = [torch.tensor([float(i)]) for i in range(count)]
    history = filled(depth, features)
    newest = list(range(count))[-depth:]
    assert [step.index for step in history.steps] == newest
    assert [feature.item() for feature in history.features] == newest


@given(
    depth=st.integers(1, 5),
    extra=st.integers(0, 7),
    dtype=st.sampled_from(DTYPES),
    size=st.sampled_from([1, 7, 2 * BLOCK + 5]),
    seed=st.integers(0, 9),
)
def test_combine_is_the_weighted_sum(depth, extra, dtype, size, seed):
    generator = torch.Generator().manual_seed(seed)
    features = [
        torch.randn(size, generator=generator, dtype=torch.float64).to(dtype)
        for _ in range(depth + extra)
    ]
    row = torch.randn(depth, generator=generator, dtype=torch.float64).numpy()
    got = filled(depth, features).combine(row)
    kept = torch.stack(features[-depth:]).double()
    exact = (torch.from_numpy(row)[:, None] * kept).sum(0)
    # One rounding to the feature's dtype, and a few in the accumulator, which is float32 or wider.
    wide = torch.float64 if dtype == torch.float64 else torch.float32
    size_of_terms = (torch.from_numpy(row).abs()[:, None] * kept.abs()).sum(0)
    allowed = torch.finfo(dtype).eps * exact.abs() + 8 * torch.finfo(wide).eps * size_of_terms
    assert got.dtype == dtype
    assert (got.double() - exact).abs().le(allowed + 1e-7).all()


def test_sums_in_float32_not_in_the_features_dtype():
    # 256 + 1 - 256: bfloat16 has 8 bits and would lose the 1 on the way.
    features = [torch.full((3,), x, dtype=torch.bfloat16) for x in (256.0, 1.0, 256.0)]
    assert filled(3, features).combine([1, 1, -1]).tolist() == [1.0] * 3
    # The weight 1.001 is 1.0 in bfloat16.
    thousand = [torch.full((1,), 1000.0, dtype=torch.bfloat16)] * 2
    assert filled(2, thousand).combine([1.001, -1.0]).item() == pytest.approx(1, rel=1e-2)


@pytest.mark.parametrize("dtype", DTYPES)
def test_weight_one_returns_the_feature_bit_for_bit(dtype):
    feature = torch.randn(1000).to(dtype)
    other = torch.full_like(feature, torch.nan)
    assert torch.equal(filled(2, [other, feature]).combine([0, 1]), feature)


def test_features_come_in_any_layout_and_are_not_touched():
    feature = torch.randn(4, 6).T
    before = feature.clone()
    history = filled(2, [feature, feature * 2])
    history.combine([0.5, 0.5])
    feature_kept = history.features[0].clone()
    feature.zero_()
    assert torch.equal(history.features[0], feature_kept)
    assert torch.equal(feature_kept, before)


def test_it_allocates_once_and_counts_its_bytes():
    history = fc.History(3)
    assert history.nbytes == 0
    for i in range(7):
        history.observe(fc.Step(i, 0.0), torch.zeros(5, 2, dtype=torch.bfloat16))
        assert history.nbytes == 3 * 10 * 2


def test_storage_dtype_is_apart_from_the_features_dtype():
    history = filled(2, [torch.ones(8), torch.ones(8) * 3], dtype=torch.bfloat16)
    assert history.nbytes == 2 * 8 * 2
    combined = history.combine([0.5, 0.5])
    assert combined.dtype == torch.float32
    assert combined.tolist() == [2.0] * 8


def test_it_can_go_on_outside_the_inference_mode_it_began_in():
    history = fc.History(2)
    with torch.inference_mode():
        history.observe(fc.Step(0, 0.0), torch.ones(3))
    history.observe(fc.Step(1, 0.0), torch.ones(3))
    assert history.combine([1, 1]).tolist() == [2.0] * 3


def test_what_does_not_fit_is_refused():
    history = filled(2, [torch.zeros(3), torch.zeros(3)])
    with pytest.raises(fc.errors.HistoryError, match="fresh history"):
        history.observe(fc.Step(5, 0.0), torch.zeros(4))
    with pytest.raises(fc.errors.HistoryError, match="one weight a feature"):
        history.combine([1.0])
    with pytest.raises(fc.errors.HistoryError, match=r"shape \(2, 1\).*one weight a feature"):
        history.combine(np.ones((2, 1)))
    with pytest.raises(fc.errors.HistoryError, match="history of 0 features"):
        fc.History(2).combine(np.array([]))
