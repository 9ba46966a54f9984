"""The order that has just forecast best forecasts the next step."""

from __future__ import annotations

import pytest
import torch

import forecastcache as fc
from forecastcache.history import History


def history(values: list[float], indices: tuple[int, ...] = (0, 2, 4, 6)) -> History:
    found = History(len(values))
    for index, value in zip(indices, values):
        found.observe(fc.Step(index, 0.0), torch.tensor([value, 2 * value]))
    return found


@pytest.mark.parametrize(
    ("values", "order"),
    [
        ([0.0, 2.0, 4.0, 6.0], 1),  # a line, on which all agree: the lowest
        ([0.0, 1.0, 4.0, 9.0], 2),  # a parabola bends one way
        ([0.0, 1.0, -1.0, 1.0], 1),  # what swings is better not bent
    ],
)
def test_it_forecasts_as_taylor_of_the_order_that_missed_least(values, order):
    features, target = history(values), fc.Step(9, 0.0)
    expected = fc.Taylor(order, guard=0).forecast(features.newest(order + 1), target)
    torch.testing.assert_close(fc.VariableOrder().forecast(features, target), expected)


def test_reuse_may_be_among_the_orders():
    features = history([0.0, 1.0, -1.0, -0.9])
    assert torch.equal(
        fc.VariableOrder((0, 1)).forecast(features, fc.Step(9, 0.0)), features.features[-1]
    )


def test_a_short_history_takes_the_lowest_order():
    features = history([1.0, 3.0])
    expected = fc.Taylor(1, guard=0).forecast(features, fc.Step(9, 0.0))
    assert torch.equal(fc.VariableOrder().forecast(features, fc.Step(9, 0.0)), expected)


@pytest.mark.parametrize("orders", [(), (2, 1), (1, 1)])
def test_orders_that_do_not_rise_are_refused(orders):
    with pytest.raises(fc.errors.OptionError, match="must rise: give some such as"):
        fc.VariableOrder(orders)
