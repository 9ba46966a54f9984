"""Searches: near the best in few tries, and never beyond what was allowed."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from forecastcache.calibration.schedule_search import (
    GRID,
    Warp,
    climb,
    ranked,
    resampled,
    search,
    with_one_more,
)

TOTAL = 50
HIDDEN = Warp(0.85, 1.55, 1)  # between the members of the grid


def distance(aim: tuple[int, ...]):
    def error(steps: tuple[int, ...]) -> float:
        return float(np.square(np.subtract(steps, aim)).sum())

    return error


@pytest.mark.parametrize("count", [4, 9, 14])
def test_what_the_grid_does_not_hold_is_found(count):
    aim = HIDDEN.steps(count, TOTAL)
    found = search(distance(aim), count, TOTAL, tries=60)
    coarse = min(distance(aim)(warp.steps(count, TOTAL)) for warp in GRID)
    assert found.error < coarse or coarse == 0


@given(count=st.integers(1, 12), total=st.integers(12, 30), tries=st.integers(1, 30))
def test_no_more_is_tried_than_was_allowed_and_all_are_schedules(count, total, tries):
    tried: list[tuple[int, ...]] = []

    def error(steps: tuple[int, ...]) -> float:
        tried.append(steps)
        return float(sum(steps))

    found = search(error, count, total, tries)
    assert len(tried) == len(set(tried)) == found.tries <= tries
    assert found.error == min(map(error, set(tried)))
    for steps in tried:
        assert len(steps) == count
        assert steps[0] == 0
        assert steps[-1] < total
        assert list(steps) == sorted(set(steps))


def test_seeds_are_looked_at_first_and_the_best_warps_then():
    seeds, tried = [(0, 1, 2), (0, 3, 6)], []

    def error(steps: tuple[int, ...]) -> float:
        tried.append(steps)
        return 1.0

    search(error, 3, TOTAL, 5, seeds, GRID[7:])
    assert tried[:2] == seeds
    assert tried[2] == GRID[7].steps(3, TOTAL)


def test_of_few_steps_the_familys_defaults_are_looked_at_first():
    assert search(lambda steps: float(len(steps)), 5, 8, tries=1).computed == (0, 2, 4, 6, 7)
    assert search(lambda steps: float(len(steps)), 5, TOTAL, tries=1).computed[-1] == TOTAL - 2
    # The last computed step of 50, one before the end, is the end itself of eight.
    assert Warp(1.1, 1.7, 1).steps(5, 8)[-1] == 7


def test_warps_are_ranked_by_what_was_tried():
    best, second = GRID[3], GRID[20]
    errors = {best.steps(9, TOTAL): 1.0, second.steps(9, TOTAL): 2.0}
    assert ranked(errors, 9, TOTAL)[:2] == [best, second]


@given(st.integers(1, 20), st.integers(1, 20))
def test_a_stretched_schedule_keeps_its_ends(before, after):
    computed = Warp(0.9, 1.7, 1).steps(before, TOTAL)
    stretched = resampled(computed, after, TOTAL)
    assert len(stretched) == after
    assert stretched[0] == 0
    if min(before, after) > 1:
        assert stretched[-1] == computed[-1] or stretched[-1] >= after - 1
    assert resampled(computed, before, TOTAL) == computed


def test_one_step_more_keeps_all_others():
    longer = list(with_one_more((0, 10, 12, 40), TOTAL))
    assert longer == [(0, 10, 12, 26, 40), (0, 10, 12, 40, 45)]
    assert list(with_one_more((0, 1, 2), 4)) == [(0, 1, 2, 3)]


def test_a_climb_ends_where_no_move_helps():
    aim = (0, 9, 20, 31)
    assert climb(distance(aim), (0, 8, 22, 30), TOTAL) == aim
    assert climb(distance(aim), (0, 8, 22, 30), TOTAL, tries=1) == (0, 8, 22, 30)
