from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

import forecastcache as fc
from forecastcache.errors import OptionError

from .trajectories import history_of, offsets, steps_at

VECTORS = np.random.default_rng(0).standard_normal((5, 40))


def forecast(predictor, feature, indices, target):
    history = history_of(predictor.depth, steps_at(indices), feature)
    (goal,) = steps_at([target])
    return predictor.forecast(history, goal).numpy()


@given(
    gap=st.integers(1, 6),
    k=offsets,
    rates=st.lists(st.floats(-0.2, 0.05), min_size=1, max_size=2),
    spin=st.floats(0.01, 0.2),
)
def test_it_is_exact_on_decays_oscillations_and_straight_lines(gap, k, rates, spin):
    even = [gap * j for j in range(6)]
    trajectories = [
        lambda s: VECTORS[0] + VECTORS[1] * np.exp(rates[0] * s),
        lambda s: VECTORS[0] + VECTORS[1] * np.cos(spin * s) + VECTORS[2] * np.sin(spin * s),
        lambda s: VECTORS[0] + VECTORS[1] * s,
        lambda s: VECTORS[0],
    ]
    for feature, rank in zip(trajectories, (1, 2, 1, 1)):
        got = forecast(fc.Exponential(rank), feature, even, even[-1] + k)
        # A slow decay or spin differs from a straight line by rounding only: 1e-6 of the motion.
        np.testing.assert_allclose(got, feature(even[-1] + k), rtol=0, atol=1e-5)


def test_two_decays_need_rank_2():
    def feature(s):
        return VECTORS[0] + VECTORS[1] * 0.95**s + VECTORS[2] * 0.8**s

    even, target = [0, 6, 12, 18], 23
    errors = [
        np.abs(forecast(fc.Exponential(rank), feature, even, target) - feature(target)).max()
        for rank in (1, 2)
    ]
    assert errors[0] > 1e-3
    assert errors[1] < 1e-12


def test_on_uneven_steps_it_uses_the_even_newest_part():
    def feature(s):
        return VECTORS[0] + VECTORS[1] * 0.9**s

    assert forecast(fc.Exponential(1, 5), feature, [0, 1, 2, 8, 14], 19) == pytest.approx(
        feature(19), abs=1e-9
    )
    straight = forecast(fc.Exponential(1), feature, [0, 1, 8], 10)
    assert straight == pytest.approx(feature(8) + (feature(8) - feature(1)) * 2 / 7)


def test_growth_is_bounded():
    def feature(s):
        return VECTORS[0] + VECTORS[1] * 3.0**s

    free = forecast(fc.Exponential(1, growth=4), feature, [0, 1, 2], 3)
    bounded = forecast(fc.Exponential(1, growth=1), feature, [0, 1, 2], 3)
    assert free == pytest.approx(feature(3))
    assert bounded == pytest.approx(feature(2) + (feature(2) - feature(1)))


def test_more_features_average_noise_out():
    noise = np.random.default_rng(1).standard_normal((40, 40)) * 1e-3

    def feature(s):
        return VECTORS[0] + VECTORS[1] * 0.9**s + noise[s]

    even, target = list(range(0, 24, 3)), 25
    errors = [
        np.linalg.norm(
            forecast(fc.Exponential(1, window), feature, even, target) - feature(target)
        )
        for window in (3, 8)
    ]
    assert errors[1] < errors[0]


def test_its_weights_depend_on_the_features():
    def decaying(s):
        return VECTORS[0] + VECTORS[1] * 0.9**s

    def straight(s):
        return VECTORS[2] + VECTORS[3] * s

    exponential, even = fc.Exponential(1), [0, 5, 10]
    one, other = (forecast(exponential, f, even, 14) for f in (decaying, straight))
    both = forecast(exponential, lambda s: decaying(s) + straight(s), even, 14)
    assert not isinstance(exponential, fc.LinearPredictor)
    assert np.abs(both - one - other).max() > 1e-3


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16, torch.float32])
def test_features_of_low_precision_that_stand_still_stay_still(dtype):
    history = fc.History(3)
    feature = torch.linspace(-3, 3, 11).to(dtype)
    for step in steps_at([0, 5, 10]):
        history.observe(step, feature)
    (target,) = steps_at([14])
    assert torch.equal(fc.Exponential().forecast(history, target), feature)


@pytest.mark.parametrize(
    ("options", "complaint"),
    [
        ({"rank": 3, "window": 4}, "rank=3 needs a window of at least 5 features, but window=4"),
        ({"rank": 0}, "rank=0"),
        ({"growth": 0.5}, "growth=0.5"),
    ],
)
def test_bad_options_are_refused_in_one_line(options, complaint):
    with pytest.raises(OptionError, match=complaint) as error:
        fc.Exponential(**options)
    assert "\n" not in str(error.value)
