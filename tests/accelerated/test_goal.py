"""What is asked, and the number of steps that it comes to."""

from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from forecastcache.accelerated.goal import Goal
from forecastcache.calibration.fits import Fit
from forecastcache.errors import OptionError


def fit(count: int, psnr: float) -> Fit:
    return Fit(
        computed=tuple(range(count)), rows=(), latent_psnr_db=psnr, fitted_latent_psnr_db=psnr,
        response=(), evaluations=0,
    )  # fmt: skip


@pytest.mark.parametrize(
    ("asked", "count"),
    [
        ({}, 10),
        ({"speedup": 6}, 8),
        ({"speedup": 1}, 50),
        ({"computed": 7}, 7),
        ({"psnr": 40}, 10),
    ],
)
def test_it_says_how_many_steps_are_computed(asked, count):
    assert Goal.of(**asked).count(50) == count


@pytest.mark.parametrize(
    ("total", "count"), [(1, 1), (2, 1), (4, 2), (8, 4), (12, 4), (20, 4), (28, 5), (50, 10)]
)
def test_where_nothing_is_asked_it_is_a_fifth_and_of_few_steps_half(total, count):
    assert Goal.of().count(total) == count


@pytest.mark.parametrize(
    ("asked", "complaint"),
    [
        ({"speedup": 0.5}, "no number of at least 1"),
        ({"speedup": math.nan}, "no number of at least 1"),
        ({"computed": 0}, "no whole number"),
        ({"computed": 2.5}, "no whole number"),
        ({"psnr": -1}, "no number of dB"),
        ({"psnr": math.inf}, "no number of dB"),
        ({"quality": "best"}, "not known: write one of near-lossless, balanced, fast"),
        ({"speedup": "5"}, "speedup='5' is no number"),
        ({"psnr": True}, "psnr=True is no number"),
        ({"quality": "fast", "speedup": 3}, "speedup and quality each choose"),
    ],
)
def test_what_cannot_be_is_refused(asked, complaint):
    with pytest.raises(OptionError, match=complaint):
        Goal.of(**asked)


@pytest.mark.parametrize("asked", [{"speedup": 13}, {"computed": 13}])
def test_more_than_there_is_is_refused_by_the_run(asked):
    with pytest.raises(OptionError, match="above 12"):
        Goal.of(**asked).count(12)


@given(st.floats(15, 80), st.integers(8, 100), st.floats(0.3, 3))
def test_a_nearness_is_searched_for_until_the_fewest_steps_are_found(psnr, total, slope):
    goal, fits = Goal(psnr=psnr), {}
    while (count := goal.next_count(fits, total)) is not None:
        assert 1 <= count < total
        assert count not in fits
        fits[count] = fit(count, 20 + slope * count)
    near = [count for count, each in fits.items() if each.figure >= psnr]
    far = [count for count, each in fits.items() if each.figure < psnr]
    if near and far:
        assert min(near) == max(far) + 1
    elif far:
        assert max(far) == total - 1
    else:
        assert min(near) <= 2 or total < 10
