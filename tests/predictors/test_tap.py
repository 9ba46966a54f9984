"""Each token takes the order that forecasts the first block best there."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

import forecastcache as fc
from forecastcache.errors import OptionError

from .seen import history_beside, rand
from .trajectories import ahead, offsets, steps_from

TOKENS = 6
ORDERS = (0, 1, 2)


def taylor(order, history, target):
    row = fc.Taylor(order, guard=0).row(history.steps, target)
    return sum(float(w) * f for w, f in zip(row, history.features))


def setting(gaps, k, seed, tokens=(TOKENS,)):
    steps = steps_from(gaps)
    count = len(steps)
    features = [rand(seed + i, 2, *tokens, 3) for i in range(count)]
    probes = [rand(seed + 50 + i, 2, TOKENS, 4) for i in range(count + 1)]
    return history_beside(steps, features, "first_block", probes), ahead(steps, k)


@given(gap=st.lists(st.integers(1, 9), min_size=2, max_size=2), k=offsets, seed=st.integers(0, 99))
def test_every_token_takes_the_order_of_least_miss(gap, k, seed):
    history, target = setting(gap, k, seed)
    past, now = history.seen("first_block")
    found = fc.TAP(ORDERS).forecast(history, target)
    rows = [fc.Taylor(m, guard=0).row(history.steps, target).tolist() for m in ORDERS]
    for sample in range(2):
        for token in range(TOKENS):
            misses = [
                (sum(w * p[sample, token] for w, p in zip(row, past)) - now[sample, token]).norm()
                for row in rows
            ]
            order = ORDERS[min(range(len(ORDERS)), key=lambda m: float(misses[m]))]
            expected = taylor(order, history, target)[sample, token]
            torch.testing.assert_close(found[sample, token], expected)


@given(k=offsets, order=st.integers(0, 3), seed=st.integers(0, 99))
def test_with_one_order_it_is_taylor(k, order, seed):
    history, target = setting([3, 5, 2], k, seed)
    found = fc.TAP((order,)).forecast(history, target)
    torch.testing.assert_close(found, taylor(order, history, target))


@given(gap=st.integers(1, 9), k=offsets, seed=st.integers(0, 99))
def test_tokens_that_go_as_the_first_block_does_are_forecast_exactly(gap, k, seed):
    steps = steps_from([gap, gap])
    target = ahead(steps, k)
    still = torch.arange(TOKENS) % 2 == 0
    start, way = rand(seed, 2, TOKENS, 3), rand(seed + 1, 2, TOKENS, 3)
    way[:, still] = 0
    features = [start + way * step.index for step in (*steps, target)]
    found = fc.TAP((0, 1)).forecast(
        history_beside(steps, features, "first_block", features), target
    )
    torch.testing.assert_close(found, features[-1])


def test_other_tokens_than_the_first_blocks_take_one_order_a_sample():
    history, target = setting([4, 4], 3, 7, tokens=(2, 8))
    found = fc.TAP(ORDERS).forecast(history, target)
    each = [taylor(m, history, target) for m in ORDERS]
    for sample in range(2):
        assert any(torch.allclose(found[sample], one[sample]) for one in each)


def test_a_short_history_takes_the_orders_that_it_has_features_for():
    steps = steps_from([])
    history = history_beside(
        steps, [rand(0, 2, TOKENS, 3)], "first_block", [rand(1, 2, TOKENS, 4)] * 2
    )
    assert torch.equal(fc.TAP((1, 2)).forecast(history, ahead(steps, 2)), history.features[0])


@pytest.mark.parametrize("orders", [(), (2, 1), (1, 1)])
def test_orders_that_do_not_rise_are_refused(orders):
    with pytest.raises(OptionError, match="must rise: give some such as"):
        fc.TAP(orders)
