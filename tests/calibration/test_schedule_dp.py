"""The planner against brute force, and against what it must do."""

from __future__ import annotations

from itertools import combinations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from forecastcache.calibration import schedule_dp
from forecastcache.calibration.gram import open_loop_rows
from forecastcache.errors import CalibrationError


def gram_of(total: int, seed: int) -> np.ndarray:
    random = np.random.default_rng(seed)
    s = np.linspace(0, 1, total)[:, None]
    features = sum(random.normal(size=60) * s**k for k in range(4))
    features = features + np.sin(7 * s) * random.normal(size=60)
    features = features + 0.05 * random.normal(size=(total, 60))
    return features @ features.T


@given(st.integers(4, 9), st.data())
@settings(max_examples=40)
def test_plans_are_those_of_brute_force(total, data):
    computed = data.draw(st.integers(1, total))
    seed = data.draw(st.integers(0, 10))
    gram = gram_of(total, seed)
    weight = np.random.default_rng(seed + 1).normal(size=total)
    every = ((0, *rest) for rest in combinations(range(1, total), computed - 1))
    cheapest = min(schedule_dp.schedule_cost(gram, weight, each) for each in every)
    found = schedule_dp.cheapest_steps(gram, weight, computed)
    assert len(found) == computed
    assert schedule_dp.schedule_cost(gram, weight, found) == pytest.approx(cheapest, rel=1e-9)


def test_the_cost_of_a_gap_is_how_far_the_sample_is_moved():
    """By forecasting the gap on the trajectories themselves."""
    random = np.random.default_rng(0)
    total, known, until = 8, (0, 1, 3), 7
    features = np.cumsum(random.normal(size=(total, 40)), axis=0)
    gram, weight = features @ features.T, random.normal(size=total)
    rows = open_loop_rows(gram, known, depth=3)
    moved = sum(
        weight[row.target]
        * (features[row.target] - np.array(row.weights) @ features[list(row.computed)])
        for row in rows
        if known[-1] < row.target < until
    )
    assert schedule_dp.gap_costs(gram, weight, known)[until - 4] == pytest.approx(moved @ moved)


def test_all_computed_costs_nothing():
    gram, weight = gram_of(6, 0), np.ones(6)
    assert schedule_dp.cheapest_steps(gram, weight, 6) == tuple(range(6))
    assert schedule_dp.schedule_cost(gram, weight, range(6)) == 0


def test_more_computed_steps_cost_no_more():
    gram, weight = gram_of(30, 1), np.ones(30)
    costs = [
        schedule_dp.schedule_cost(gram, weight, p)
        for p in schedule_dp.cheapest_by_count(gram, weight, 12)
    ]
    assert all(after <= before * (1 + 1e-9) for before, after in zip(costs, costs[1:]))


@pytest.mark.parametrize("count", [0, 7, -1])
def test_counts_that_cannot_be_are_refused(count):
    with pytest.raises(CalibrationError, match=f"{count} steps of 6.*from 1 to 6"):
        schedule_dp.cheapest_steps(gram_of(6, 0), np.ones(6), count)


def test_the_cost_that_comes_with_a_schedule_is_its_own():
    gram, weight = gram_of(20, 2), np.random.default_rng(3).normal(size=20)
    for computed, cost in schedule_dp.cheapest_with_costs(gram, weight, 20):
        direct = schedule_dp.schedule_cost(gram, weight, computed)
        assert cost == pytest.approx(direct, rel=1e-9, abs=1e-12)


@pytest.mark.parametrize("bad", [0.0, np.nan])
def test_features_that_hold_nothing_are_refused(bad):
    gram = gram_of(6, 0)
    gram[0] = gram[:, 0] = bad
    with pytest.raises(CalibrationError, match="zero or not finite: record the calibration again"):
        schedule_dp.cheapest_steps(gram, np.ones(6), 2)
