from __future__ import annotations

from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import forecastcache as fc
from forecastcache.errors import HistoryError, OptionError
from forecastcache.predictors.differences import (
    derivative_weights,
    from_differences,
    from_divided_differences,
    noise_gain,
    pascal,
    polynomial_degree,
    to_differences,
    to_divided_differences,
)

fractions = st.fractions(max_denominator=1000)
floats = st.floats(-1e6, 1e6)
rows = st.lists(st.one_of(fractions, floats), min_size=1, max_size=50)
distinct_nodes = st.lists(st.integers(-60, 60), min_size=1, max_size=12, unique=True)


@given(row=rows)
def test_every_row_comes_back_from_differences_exactly(row):
    exact = tuple(map(Fraction, row))
    assert from_differences(to_differences(row)) == exact
    assert to_differences(from_differences(row)) == exact


def test_the_largest_row_comes_back_though_floats_would_lose_it():
    row = [Fraction(1, n + 1) for n in range(50)]
    assert from_differences(to_differences(row)) == tuple(row)
    matrix = np.array(pascal(50), dtype=np.float64)
    lost = matrix.T @ (matrix.T @ np.array(row, dtype=np.float64))
    assert np.abs(lost - np.array(row, dtype=np.float64)).max() > 1  # condition number 3e28


@given(size=st.integers(1, 50))
def test_pascal_is_its_own_inverse(size):
    matrix = np.array(pascal(size), dtype=object)
    assert (matrix @ matrix == np.eye(size, dtype=int)).all()


@given(
    row=st.lists(st.integers(-9, 9), min_size=1, max_size=8),
    seed=st.integers(0, 99),
)
def test_a_row_is_its_difference_expansion(row, seed):
    features = np.random.default_rng(seed).integers(-99, 99, len(row)).tolist()  # newest first
    differences, current = [], features
    for _ in row:
        differences.append(current[0])
        current = [a - b for a, b in zip(current, current[1:])]
    expanded = sum(c * d for c, d in zip(to_differences(row), differences))
    assert expanded == sum(w * f for w, f in zip(row, features))


@given(nodes=distinct_nodes, data=st.data())
def test_every_row_comes_back_from_divided_differences_exactly(nodes, data):
    row = data.draw(st.lists(fractions, min_size=len(nodes), max_size=len(nodes)))
    assert from_divided_differences(to_divided_differences(row, nodes), nodes) == tuple(row)
    assert to_divided_differences(from_divided_differences(row, nodes), nodes) == tuple(row)


@given(row=st.lists(fractions, min_size=1, max_size=8), gap=st.integers(1, 9))
def test_divided_differences_on_even_nodes_are_scaled_backward_differences(row, gap):
    nodes = [-gap * j for j in range(len(row))]
    scale = Fraction(1)
    for i, (backward, divided) in enumerate(
        zip(to_differences(row), to_divided_differences(row, nodes))
    ):
        scale *= (i or 1) * (gap if i else 1)  # d_i = i! N^i f[x_0 ... x_i]
        assert divided == backward * scale


def test_equal_nodes_are_refused_by_name():
    with pytest.raises(HistoryError, match="nodes are 1, 2, 1, of which two are equal"):
        to_divided_differences([1, 2, 3], [1, 2, 1])


@given(nodes=distinct_nodes, data=st.data())
def test_the_degree_of_an_interpolating_row_is_one_less_than_its_size(nodes, data):
    target = data.draw(st.integers(-60, 60).filter(lambda t: t not in nodes))
    row = [
        np.prod([Fraction(target - x, y - x) for x in nodes if x != y] or [Fraction(1)])
        for y in nodes
    ]
    shifted = [x - target for x in nodes]
    assert polynomial_degree(row, shifted) == len(nodes) - 1
    spoilt = [row[0] + 1, *row[1:]]
    assert polynomial_degree(spoilt, shifted) == -1


def test_degree_and_gain_of_known_rows():
    assert polynomial_degree([1], [-3]) == 0
    assert polynomial_degree([2, -1], [-1, -2]) == 1
    assert polynomial_degree([0.5], [-3]) == -1
    assert noise_gain([2.5, -1.5]) == 4


@given(nodes=distinct_nodes.filter(lambda x: len(x) > 1), data=st.data())
def test_derivative_weights_differentiate_polynomials(nodes, data):
    nodes = nodes[:5]
    degree = data.draw(st.integers(0, len(nodes) - 1))
    at = data.draw(st.integers(-60, 60))
    values = np.array([float(x) ** degree for x in nodes])
    weights = derivative_weights(nodes, at)
    expected = degree * float(at) ** (degree - 1) if degree else 0.0
    scale = np.abs(weights * values).sum() + abs(expected) + 1
    assert weights @ values == pytest.approx(expected, abs=1e-7 * scale)


def test_explain_says_what_a_row_does():
    explained = fc.explain(fc.Taylor(2), [0, 1, 2, 8], 11)
    assert explained.row == (0.0, 0.75, -1.375, 1.625)
    assert not explained.even
    assert explained.degree == 1
    assert explained.noise_gain == 3.75
    even = fc.explain(fc.Newton(2), [0, 5, 10], 12)
    assert even.even
    assert even.differences == pytest.approx([1, 0.4, 0.28])  # 1, u, u (u + 1) / 2
    assert even.degree == 2


def test_explain_counts_in_the_coordinate_of_the_predictor():
    steps = [fc.Step(0, 1.0), fc.Step(5, 0.7), fc.Step(10, 0.6)]
    explained = fc.explain(fc.Newton(2, "time"), steps, fc.Step(12, 0.5))
    assert explained.degree == 2
    assert not explained.even


@pytest.mark.parametrize(
    ("predictor", "computed", "target", "complaint"),
    [
        (fc.Exponential(), [0, 1, 2], 3, "has no row to explain"),
        (fc.Taylor(), [0, 2, 1], 3, "steps are 0 2 1 and the target is 3"),
        (fc.Taylor(), [0, 1], 1, "each must be above the one before it"),
    ],
)
def test_explain_refuses(predictor, computed, target, complaint):
    with pytest.raises(OptionError, match=complaint):
        fc.explain(predictor, computed, target)
