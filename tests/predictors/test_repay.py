"""Reuse that pays its debts: what the sampler adds up comes right, a gap late."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import forecastcache as fc
from forecastcache.errors import OptionError

from .trajectories import ahead, gaps, offsets, steps_from

dampings = st.floats(0, 0.95)


def forecasts(damping, computed, features, count):
    rows = (fc.Repay(damping).row(computed, ahead(computed, k)) for k in range(1, count + 1))
    return np.array([row @ features for row in rows])


@given(
    gap=st.integers(1, 9),
    count=st.integers(1, 40),
    damping=dampings,
    older=st.floats(-5, 5),
    newer=st.floats(-5, 5),
)
def test_the_forecasts_pay_what_reuse_of_the_last_gap_missed(gap, count, damping, older, newer):
    way = older + (newer - older) * np.arange(1, gap) / gap
    missed = (way - older).sum()  # had the features gone straight from one to the other
    paid = (forecasts(damping, steps_from([gap]), [older, newer], count) - newer).sum()
    assert paid == pytest.approx((1 - damping**count) * missed, abs=1e-9)


@given(gap=st.integers(2, 9), slope=st.floats(-5, 5), start=st.floats(-5, 5))
def test_on_a_line_of_even_gaps_the_sum_over_a_gap_is_exact(gap, slope, start):
    way = start + slope * np.arange(3 * gap)
    computed = steps_from([gap, gap])
    found = forecasts(0, computed, way[[0, gap, 2 * gap]], gap - 1)
    assert found.sum() == pytest.approx(way[2 * gap + 1 : 3 * gap].sum(), abs=1e-9)


@given(gaps=gaps, k=offsets)
def test_as_the_damping_goes_to_1_it_is_reuse(gaps, k):
    computed = steps_from(gaps)
    target = ahead(computed, k)
    row = fc.Repay(1 - 1e-12).row(computed, target)
    np.testing.assert_allclose(row, fc.Reuse().row(computed, target), rtol=0, atol=1e-10)


@given(k=offsets, damping=dampings)
def test_nothing_is_owed_for_a_gap_in_which_nothing_was_forecast(k, damping):
    computed = steps_from([5, 1])
    assert fc.Repay(damping).row(computed, ahead(computed, k)).tolist() == [0, 0, 1]


def test_a_damping_of_1_is_refused():
    with pytest.raises(OptionError, match="damping=1"):
        fc.Repay(1)
