"""What the predictors have in common, proven on steps as they can lie."""

from __future__ import annotations

from math import comb, factorial, prod

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.polynomial import hermite

import forecastcache as fc
from forecastcache.errors import HistoryError
from forecastcache.predictors.differences import to_differences

from ..built_ins import unfitted_rows
from .trajectories import ahead, gaps, history_of, offsets, steps_at, steps_from

COORDINATES = ("step", "time", "logsnr")
orders = st.integers(0, 4)


def rows_agree(one, other, tolerance=1e-12):
    scale = max(1.0, np.abs(one).max())
    np.testing.assert_allclose(one, other, rtol=0, atol=tolerance * scale)


@given(gaps=gaps, k=offsets)
def test_taylor_of_order_0_is_reuse(gaps, k):
    computed = steps_from(gaps)
    target = ahead(computed, k)
    assert fc.Taylor(0).row(computed, target).tolist() == fc.Reuse().row(computed, target).tolist()


@given(gap=st.integers(1, 9), k=offsets)
def test_taylor_newton_and_learned_agree_at_order_1(gap, k):
    computed = steps_from([gap])
    target, u = ahead(computed, k), k / gap
    row = {"target": target.index, "computed": [0, gap], "weights": [-u, 1 + u]}
    expected = [-u, 1 + u]
    for predictor in (fc.Taylor(1), fc.Newton(1), fc.Learned([row])):
        rows_agree(predictor.row(computed, target), expected)


@given(gaps=gaps, k=offsets)
def test_taylor_and_newton_agree_at_order_1_on_uneven_steps_too(gaps, k):
    computed = steps_from(gaps)
    target = ahead(computed, k)
    rows_agree(fc.Taylor(1).row(computed, target), fc.Newton(1).row(computed, target))


@given(gap=st.integers(1, 9), k=offsets)
def test_newton_on_even_steps_has_its_closed_form(gap, k):
    u = k / gap
    closed = {
        0: [1],
        1: [1 + u, -u],
        2: [(u + 1) * (u + 2) / 2, -u * (u + 2), u * (u + 1) / 2],
        3: [
            (u + 1) * (u + 2) * (u + 3) / 6,
            -u * (u + 2) * (u + 3) / 2,
            u * (u + 1) * (u + 3) / 2,
            -u * (u + 1) * (u + 2) / 6,
        ],
    }
    for order, newest_first in closed.items():
        computed = steps_from([gap] * order)
        row = fc.Newton(order).row(computed, ahead(computed, k))
        rows_agree(row[::-1], newest_first)


@given(gap=st.integers(1, 9), k=offsets, order=orders)
def test_taylor_on_even_steps_has_its_closed_form(gap, k, order):
    u = k / gap

    def exponential_sum(n):
        return sum(u**i / factorial(i) for i in range(n + 1))

    newest_first = [
        (-u) ** j / factorial(j) * exponential_sum(order - j) for j in range(order + 1)
    ]
    computed = steps_from([gap] * order)
    rows_agree(fc.Taylor(order).row(computed, ahead(computed, k))[::-1], newest_first)


@given(gap=st.integers(1, 9), k=offsets, order=orders, sigma=st.floats(0.1, 2))
def test_hermite_on_even_steps_has_its_closed_form(gap, k, order, sigma):
    def c(i):
        polynomial = hermite.hermval(sigma * k, [0] * i + [1])
        return sigma**i * polynomial / (factorial(i) * gap**i) if i else 1

    newest_first = [
        (-1) ** j * sum(comb(i, j) * c(i) for i in range(j, order + 1)) for j in range(order + 1)
    ]
    computed = steps_from([gap] * order)
    rows_agree(fc.Hermite(order, sigma).row(computed, ahead(computed, k))[::-1], newest_first)


@given(gaps=gaps, k=offsets)
def test_hermite_at_sigma_of_one_over_root_2_is_taylor_of_order_1(gaps, k):
    computed = steps_from(gaps)
    target = ahead(computed, k)
    rows_agree(fc.Hermite(1, 2**-0.5).row(computed, target), fc.Taylor(1).row(computed, target))


@given(gap=st.integers(1, 9), k=offsets)
def test_bdf_of_order_1_corrected_is_taylor_of_order_2_on_even_steps(gap, k):
    computed = steps_from([gap, gap])
    target = ahead(computed, k)
    rows_agree(fc.BDF(1).row(computed, target), fc.Taylor(2).row(computed, target), 1e-9)


@given(gap=st.integers(1, 9))
def test_bdf2_one_gap_ahead_is_the_textbook_formula(gap):
    computed = steps_from([gap] * 3)
    slopes = np.array([[0, 0.5, -2, 1.5], [0.5, -2, 1.5, 0]]) / gap  # at the newest two
    slope_ahead = 2 * slopes[0] - slopes[1]
    textbook = np.array([0, 0, -1 / 3, 4 / 3]) + 2 / 3 * gap * slope_ahead
    rows_agree(fc.BDF(2, corrected=False).row(computed, ahead(computed, gap)), textbook, 1e-9)
    heun = np.array([0, 0, 0, 1]) + gap / 2 * (slopes[0] + slope_ahead)
    rows_agree(fc.BDF(2).row(computed, ahead(computed, gap)), heun, 1e-9)


@given(gap=st.integers(1, 9), k=offsets)
def test_with_first_differences_for_slopes_focas_steps_are_the_straight_line(gap, k):
    f0, f1 = np.array([0.0, 1.0]), np.array([1.0, 0.0])
    slope, w = (f0 - f1) / gap, k / gap
    predicted = ((1 + w) ** 2 * f0 - w**2 * f1 + (1 + w) * k * slope) / (1 + 2 * w)
    corrected = f0 + k / 2 * (slope + (predicted - f0) / k)
    computed = steps_from([gap])
    straight = fc.Taylor(1).row(computed, ahead(computed, k))
    rows_agree(predicted, straight)
    rows_agree(corrected, straight)


@given(
    gaps=gaps,
    k=offsets,
    order=orders,
    coefficients=st.lists(st.integers(-5, 5), min_size=5, max_size=5),
)
def test_newton_is_exact_on_polynomials_of_its_degree(gaps, k, order, coefficients):
    newton = fc.Newton(order)
    computed = steps_from(gaps)[-newton.depth :]
    degree = len(computed) - 1
    target = ahead(computed, k)

    def polynomial(s):
        return sum(c * float(s) ** i for i, c in enumerate(coefficients[: degree + 1]))

    history = history_of(newton.depth, computed, polynomial)
    largest = max(abs(polynomial(step.index)) for step in [*computed, target])
    gain = np.abs(newton.row(computed, target)).sum()
    error = newton.forecast(history, target).item() - polynomial(target.index)
    assert abs(error) <= 1e-12 * gain * (1 + largest)


@given(gap=st.integers(1, 9), k=offsets)
def test_bdf_is_exact_on_polynomials_of_its_order(gap, k):
    for predictor in (fc.BDF(1), fc.BDF(1, False), fc.BDF(2), fc.BDF(2, False)):
        computed = steps_from([gap, 1, gap + 2, 2])
        explained = fc.explain(predictor, computed, ahead(computed, k))
        assert explained.degree >= predictor.order


@given(gaps=gaps, k=offsets, order=orders, coordinate=st.sampled_from(COORDINATES))
def test_newton_does_not_see_where_or_how_its_coordinate_is_counted(gaps, k, order, coordinate):
    computed = steps_from(gaps)
    target = ahead(computed, k)

    def elsewhere(step):
        return step._replace(
            index=step.index * 3 + 7, time=step.time * 1000 + 5, logsnr=step.logsnr * 2 - 1
        )

    newton = fc.Newton(order, coordinate)
    moved = newton.row([elsewhere(step) for step in computed], elsewhere(target))
    rows_agree(newton.row(computed, target), moved, 1e-9)


@given(gaps=gaps, k=offsets, order=orders, coordinate=st.sampled_from(COORDINATES))
def test_newton_reads_its_coordinate_only(gaps, k, order, coordinate):
    computed = steps_from(gaps)
    target = ahead(computed, k)

    def changed(step):
        others = {"time": step.time**3, "logsnr": step.logsnr**3, "index": step.index**2}
        others.pop("index" if coordinate == "step" else coordinate)
        return step._replace(**others)

    newton = fc.Newton(order, coordinate)
    other = newton.row([changed(step) for step in computed], changed(target))
    rows_agree(newton.row(computed, target), other)


@given(gaps=gaps.filter(len), k=offsets, order=st.integers(1, 4), far=st.integers(6, 9))
def test_a_node_at_infinity_is_the_limit_of_nodes_going_there(gaps, k, order, far):
    newton = fc.Newton(order, "logsnr")
    first, *others = steps_from(gaps)[-newton.depth :]
    if not others:
        return
    target = ahead(others, k)
    limit = newton.row([first._replace(logsnr=-np.inf), *others], target)
    near = newton.row([first._replace(logsnr=-(10.0**far)), *others], target)
    assert limit[0] == 0
    rows_agree(limit, near, 10.0 ** (4 - far))


@pytest.mark.parametrize("coordinate", ["time", "logsnr"])
def test_equal_nodes_are_refused_by_name(coordinate):
    one, two, three = steps_at([0, 5, 10])
    same = two._replace(**{coordinate: getattr(one, coordinate)})
    with pytest.raises(HistoryError, match=f"steps 0 and 5 have the same {coordinate}.*'step'"):
        fc.Newton(1, coordinate).row([one, same], three)


def test_a_coordinate_that_no_step_tells_is_refused_by_name():
    with pytest.raises(HistoryError, match="step 0 does not tell its logsnr: attach a pipeline"):
        fc.Newton(1, "logsnr").row([fc.Step(0, 1.0), fc.Step(1, 0.9)], fc.Step(2, 0.8))


LINEAR = unfitted_rows()


@pytest.mark.parametrize("predictor", LINEAR, ids=str)
@given(gap=st.integers(1, 9), k=offsets, seed=st.integers(0, 99))
def test_every_row_is_a_learned_row_and_its_difference_expansion(predictor, gap, k, seed):
    computed = steps_from([gap] * (predictor.depth - 1))
    target = ahead(computed, k)
    row = predictor.row(computed, target)
    features = np.random.default_rng(seed).standard_normal((len(computed), 7))
    by_index = {step.index: feature for step, feature in zip(computed, features)}
    history = history_of(predictor.depth, computed, by_index.__getitem__)
    learned = fc.Learned(
        [
            {
                "target": target.index,
                "computed": [s.index for s in computed],
                "weights": row.tolist(),
            }
        ]
    )
    forecast = predictor.forecast(history, target).numpy()
    assert (learned.forecast(history, target).numpy() == forecast).all()

    differences, current = [], features[::-1]
    for _ in computed:
        differences.append(current[0])
        current = current[:-1] - current[1:]
    omega = to_differences(row[::-1].tolist())
    expanded = sum(float(c) * d for c, d in zip(omega, differences))
    scale = sum(abs(float(c)) * np.abs(d).max() for c, d in zip(omega, differences))
    np.testing.assert_allclose(forecast, expanded, rtol=0, atol=1e-12 * scale)


@pytest.mark.parametrize("predictor", LINEAR, ids=str)
@given(gaps=gaps, k=offsets)
def test_older_steps_than_the_depth_weigh_nothing(predictor, gaps, k):
    computed = steps_from(gaps)
    target = ahead(computed, k)
    row = predictor.row(computed, target)
    newest = computed[-predictor.depth :]
    assert row[: len(computed) - len(newest)].tolist() == [0] * (len(computed) - len(newest))
    assert row[-len(newest) :].tolist() == predictor.row(newest, target).tolist()


@given(gaps=gaps, k=offsets, weight=st.floats(-2, 2))
def test_blend_is_the_affine_combination(gaps, k, weight):
    computed = steps_from(gaps)
    target = ahead(computed, k)
    a, b = fc.Newton(1), fc.Taylor(3)
    expected = (1 - weight) * a.row(computed, target) + weight * b.row(computed, target)
    rows_agree(fc.Blend(a, b, weight).row(computed, target), expected)
    assert fc.Blend(a, b).depth == 4


def test_lagrange_weights_are_products_of_ratios():
    nodes, x = [0, 1, 4], 9
    (computed, target) = steps_at(nodes), steps_at([x])[0]
    expected = [prod((x - b) / (a - b) for b in nodes if b != a) for a in nodes]
    rows_agree(fc.Newton(2).row(computed, target), expected)
