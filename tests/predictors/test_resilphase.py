"""A polynomial along a phase axis: between reuse and Newton's, and Newton's in two limits."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import forecastcache as fc
from forecastcache.errors import OptionError

from .trajectories import ahead, gaps, offsets, steps_from

orders = st.integers(0, 4)


@given(gaps=gaps, k=offsets, order=orders)
def test_an_axis_that_hardly_bends_is_newtons(gaps, k, order):
    computed = steps_from(gaps)
    target = ahead(computed, k)
    newton = fc.Newton(order).row(computed, target)
    bent = fc.ResilPhase(order, alpha=1e-3).row(computed, target)
    # tanh(x) = x - x^3 / 3: of 1e-6 of the weights, which grow with the distance of the target.
    far = (k / min(gaps, default=1)) ** 2 + 10
    np.testing.assert_allclose(bent, newton, rtol=0, atol=1e-5 * far * np.abs(newton).sum())


@given(gap=st.integers(1, 9), k=offsets, order=st.integers(0, 2))
def test_chebyshevs_nodes_are_even_up_to_three(gap, k, order):
    computed = steps_from([gap] * order)
    target = ahead(computed, k)
    row = fc.ResilPhase(order, "chebyshev").row(computed, target)
    np.testing.assert_allclose(row, fc.Newton(order).row(computed, target), rtol=0, atol=1e-9)


@given(gaps=gaps, k=offsets, order=orders, axis=st.sampled_from(["balanced", "chebyshev"]))
def test_constants_are_kept(gaps, k, order, axis):
    computed = steps_from(gaps)
    row = fc.ResilPhase(order, axis).row(computed, ahead(computed, k))
    assert row.sum() == pytest.approx(1, abs=1e-12 * np.abs(row).sum())


@given(gap=st.integers(1, 9), k=st.integers(1, 60), alpha=st.floats(0.1, 4))
def test_the_balanced_line_goes_less_far_than_the_straight_one_and_ends(gap, k, alpha):
    computed = steps_from([gap])
    _, newest = fc.ResilPhase(1, alpha=alpha).row(computed, ahead(computed, k))
    straight = 1 + k / gap
    assert 1 < newest < straight
    # At infinity its phase is 1, and the newest step's is tanh(alpha).
    assert newest <= (1 / np.tanh(alpha) + 1) / 2 + 1e-9


def test_the_balanced_phases_are_those_of_the_paper():
    computed = steps_from([1, 6])  # 0, 1, 7: mean 8/3, farthest 13/3
    row = fc.ResilPhase(2).row(computed, ahead(computed, 3))
    x = np.tanh(0.55 * (np.array([0, 1, 7, 10]) - 8 / 3) / (13 / 3))
    expected = [
        (x[3] - x[1]) * (x[3] - x[2]) / ((x[0] - x[1]) * (x[0] - x[2])),
        (x[3] - x[0]) * (x[3] - x[2]) / ((x[1] - x[0]) * (x[1] - x[2])),
        (x[3] - x[0]) * (x[3] - x[1]) / ((x[2] - x[0]) * (x[2] - x[1])),
    ]
    np.testing.assert_allclose(row, expected, rtol=1e-12)


@pytest.mark.parametrize("options", [{"alpha": 0}, {"axis": "legendre"}, {"order": 5}])
def test_bad_options_are_refused(options):
    with pytest.raises(OptionError):
        fc.ResilPhase(**options)
