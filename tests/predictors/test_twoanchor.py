"""How far the first block has moved says how far to go along the line."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

import forecastcache as fc
from forecastcache.errors import HistoryError, OptionError

from .seen import history_beside, rand
from .trajectories import ahead, offsets, steps_from

BATCH = 3


def along(shape, places, seed):
    """Tensors on a line, sample b at its own places."""
    start, way = rand(seed, BATCH, *shape), rand(seed + 1, BATCH, *shape)
    spread = (BATCH, *[1] * len(shape))
    return [
        start + torch.tensor(place, dtype=torch.float64).view(spread) * way for place in places
    ]


def forecast(features, probes, k=1, **options):
    steps = steps_from([6])
    history = history_beside(steps, features, "first_block", probes)
    return fc.TwoAnchor(**options).forecast(history, ahead(steps, k))


@given(moved=st.lists(st.floats(1, 1.5), min_size=BATCH, max_size=BATCH))
def test_it_is_exact_where_block_and_feature_move_along_lines_in_proportion(moved):
    places = [[0.0] * BATCH, [1.0] * BATCH, moved]
    *features, expected = along((5, 2), places, 0)
    probes = along((4, 7), places, 2)
    torch.testing.assert_close(forecast(features, probes), expected)


@given(gap=st.integers(1, 9), k=offsets)
def test_held_at_one_place_it_is_taylors_straight_line_or_reuse(gap, k):
    steps = steps_from([gap])
    features = [rand(0, 2, 5), rand(1, 2, 5)]
    probes = [rand(seed, 2, 4, 7) for seed in (2, 3, 4)]
    history = history_beside(steps, features, "first_block", probes)
    target = ahead(steps, k)
    for gamma, expected in ((1.0, fc.Reuse()), (1 + k / gap, fc.Taylor(1))):
        held = fc.TwoAnchor(lower=gamma, upper=gamma).forecast(history, target)
        wanted = expected.forecast(history.newest(expected.depth), target)
        torch.testing.assert_close(held, wanted)


def test_gamma_is_held_between_its_bounds_for_every_sample_of_its_own():
    places = [[0.0] * BATCH, [1.0] * BATCH, [0.2, 1.3, 8.0]]
    features, probes = along((5, 2), places[:2], 0), along((4, 7), places, 2)
    *_, expected = along((5, 2), [*places[:2], [1.0, 1.3, 1.5]], 0)
    torch.testing.assert_close(forecast(features, probes), expected)


def test_a_block_that_stood_still_gives_the_lower_bound():
    probes = [rand(2, BATCH, 4, 7)] * 3
    features = [rand(0, BATCH, 5), rand(1, BATCH, 5)]
    torch.testing.assert_close(forecast(features, probes), features[1])


def test_bounds_that_cross_and_batches_that_differ_are_refused():
    with pytest.raises(OptionError, match="lower=2 is above upper=1.5"):
        fc.TwoAnchor(lower=2)
    features = [rand(0, 4, 5), rand(1, 4, 5)]
    probes = [rand(seed, 2, 4, 7) for seed in (2, 3, 4)]
    with pytest.raises(HistoryError, match=r"\(4, 5\) is not of the 2 samples"):
        forecast(features, probes)
    steps, bare = steps_from([6]), fc.History(2)
    for step in steps:
        bare.observe(step, features[0])
    with pytest.raises(HistoryError, match="does not show first_block: add it to"):
        fc.TwoAnchor().forecast(bare, ahead(steps, 1))
