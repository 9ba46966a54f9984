from __future__ import annotations

from math import factorial

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

import forecastcache as fc

# Rising, uneven steps, a target past them, an order: what a predictor can meet.
gaps = st.lists(st.integers(1, 9), min_size=0, max_size=6)


def steps_from(gaps: list[int]) -> list[fc.Step]:
    return [fc.Step(i, 1.0 - i / 100) for i in np.cumsum([0, *gaps]).tolist()]


class ReferenceTaylor:
    """The recursion of TaylorSeer's code, feature by feature, kept apart from the library's row.

    At each computed step the derivatives so far are renewed: d_0 = F,
    d_{i+1} = (d_i - d_i of the last computed step) / distance of the two.
    """

    def __init__(self, order: int) -> None:
        self.order = order
        self.derivatives: list[np.ndarray] = []
        self.newest = 0

    def observe(self, step: int, feature: np.ndarray) -> None:
        renewed = [feature]
        for i in range(min(self.order, len(self.derivatives))):
            renewed.append((renewed[i] - self.derivatives[i]) / (step - self.newest))
        self.derivatives, self.newest = renewed, step

    def forecast(self, step: int) -> np.ndarray:
        k = step - self.newest
        return sum(d * k**i / factorial(i) for i, d in enumerate(self.derivatives))


@given(gaps=gaps, k=st.integers(1, 9), order=st.integers(0, 4))
def test_row_equals_the_reference_recursion_on_unit_vectors(gaps, k, order):
    computed = steps_from(gaps)
    reference = ReferenceTaylor(order)
    for step, unit in zip(computed, np.eye(len(computed))):
        reference.observe(step.index, unit)
    expected = reference.forecast(computed[-1].index + k)

    taylor = fc.Taylor(order=order)
    kept = computed[-taylor.depth :]
    row = taylor.row(kept, fc.Step(computed[-1].index + k, 0.0))

    # Relative to the largest weight: order 4 over gaps of 1 and k = 9 has weights of hundreds.
    scale = max(1.0, np.abs(expected).max())
    np.testing.assert_allclose(row, expected[-len(kept) :], rtol=0, atol=1e-12 * scale)
    np.testing.assert_allclose(expected[: -len(kept)], 0, atol=1e-12 * scale)


@given(gaps=gaps, k=st.integers(1, 9), order=st.integers(0, 4), seed=st.integers(0, 99))
def test_forecast_equals_the_reference_recursion_on_features(gaps, k, order, seed):
    computed = steps_from(gaps)
    features = np.random.default_rng(seed).standard_normal((len(computed), 5))
    reference, taylor = ReferenceTaylor(order), fc.Taylor(order=order)
    history = fc.History(taylor.depth)
    for step, feature in zip(computed, features):
        reference.observe(step.index, feature)
        history.observe(step, torch.from_numpy(feature))
    target = fc.Step(computed[-1].index + k, 0.0)
    expected = reference.forecast(target.index)
    scale = max(1.0, np.abs(taylor.row(history.steps, target)).sum())
    got = taylor.forecast(history, target).numpy()
    np.testing.assert_allclose(got, expected, rtol=0, atol=1e-12 * scale)


@given(gap=st.integers(1, 9), k=st.integers(1, 9))
def test_closed_form_on_even_steps(gap, k):
    u = k / gap
    closed = {
        0: [1],
        1: [1 + u, -u],
        2: [1 + u + u**2 / 2, -u * (1 + u), u**2 / 2],
        3: [
            1 + u + u**2 / 2 + u**3 / 6,
            -u * (1 + u + u**2 / 2),
            u**2 * (1 + u) / 2,
            -(u**3) / 6,
        ],
    }
    for order, newest_first in closed.items():
        computed = steps_from([gap] * order)
        row = fc.Taylor(order=order).row(computed, fc.Step(computed[-1].index + k, 0.0))
        np.testing.assert_allclose(row[::-1], newest_first, rtol=1e-12, atol=1e-12)


def test_order_two_is_not_exact_on_parabolas():
    taylor, interval = fc.Taylor(order=2), 5
    history = fc.History(taylor.depth)
    for i in (0, 5, 10):
        history.observe(fc.Step(i, 0.0), torch.tensor([float(i * i)], dtype=torch.float64))
    errors = [
        (taylor.forecast(history, fc.Step(10 + k, 0.0)) - (10 + k) ** 2).item()
        for k in range(1, interval)
    ]
    assert errors == pytest.approx([-5, -10, -15, -20])


def test_noise_gain_of_the_docstring():
    gains = []
    for order in (1, 2, 3, 4):
        computed = steps_from([6] * order)
        row = fc.Taylor(order=order).row(computed, fc.Step(computed[-1].index + 5, 0.0))
        gains.append(round(float(np.abs(row).sum()), 2))
    assert gains == [2.67, 4.06, 4.83, 5.15]


def test_order_zero_is_reuse():
    computed = steps_from([2, 3])
    target = fc.Step(9, 0.0)
    taylor = fc.Taylor(order=0).row(computed[-1:], target)
    assert taylor.tolist() == fc.Reuse().row(computed[-1:], target).tolist() == [1.0]


@pytest.mark.parametrize("order", [-1, 5, 9, 1.5, "two"])
def test_order_out_of_range_is_refused_in_one_line(order):
    with pytest.raises(ValueError, match=r"order=.*it takes order: integer from 0 to 4") as error:
        fc.Taylor(order=order)
    assert "\n" not in str(error.value)
