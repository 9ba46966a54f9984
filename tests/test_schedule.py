from __future__ import annotations

import pickle

import pytest
from hypothesis import given
from hypothesis import strategies as st

import forecastcache as fc
from forecastcache.errors import ScheduleError
from forecastcache.schedule import State
from forecastcache.step import Step


def test_the_reference_rule():
    computed = fc.Every(6, first=3).computed(50)
    assert computed == (0, 1, 2, 8, 14, 20, 26, 32, 38, 44)


@given(
    interval=st.integers(1, 9),
    first=st.integers(1, 6),
    last=st.integers(0, 5),
    total=st.integers(1, 60),
)
def test_every_computes_its_first_its_last_and_each_interval(interval, first, last, total):
    computed = fc.Every(interval, first, last).computed(total)
    assert set(range(min(first, total))) <= set(computed)
    assert set(range(max(0, total - last), total)) <= set(computed)
    gaps = [b - a for a, b in zip(computed, computed[1:])]
    assert all(gap <= interval for gap in gaps)
    assert total - 1 - computed[-1] < interval
    middle = [s for s in computed if first - 1 <= s < total - last]
    assert all(b - a == interval for a, b in zip(middle, middle[1:]))


@given(st.sets(st.integers(1, 49)), st.just(50))
def test_listed_computes_what_it_lists(steps, total):
    listed = fc.Listed([0, *sorted(steps)])
    wanted = [i for i in range(total) if listed.compute(fc.Step(i, 0.0), State())]
    assert tuple(wanted) == listed.computed(total) == listed.steps


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: fc.Every(0), "interval=0.*integer of at least 1"),
        (lambda: fc.Every(5, first=0), "first=0"),
        (lambda: fc.Every(5, last=-1), "last=-1"),
        (lambda: fc.Listed(3), "steps=3, but input should be a valid tuple"),
        (lambda: fc.Listed([]), "empty.*begin the list with 0"),
        (lambda: fc.Listed([1, 2]), "steps are 1 2.*begin the list with 0"),
        (lambda: fc.Listed([0, 3, 3]), "each must be above the one before"),
        (lambda: fc.Listed([0, 60]).computed(50), "names step 60.*50 steps.*from 0 to 49"),
    ],
)
def test_bad_schedules_are_refused_in_one_line(make, message):
    with pytest.raises(ValueError, match=message) as error:
        make()
    assert "\n" not in str(error.value)


def test_last_needs_a_known_number_of_steps():
    with pytest.raises(fc.errors.ScheduleError, match="attach the pipeline"):
        fc.Every(5, last=1).compute(fc.Step(3, 0.5, None), State())


@pytest.mark.parametrize("schedule", [fc.Every(6, first=3, last=1), fc.Listed([0, 4, 9])])
def test_schedules_survive_pickle_and_json(schedule):
    assert pickle.loads(pickle.dumps(schedule)) == schedule
    assert type(schedule).model_validate_json(schedule.model_dump_json()) == schedule
    assert hash(schedule) == hash(schedule.model_copy())


def test_a_warp_is_the_formula():
    """c_i = round((T - 1 - d)(1 - (1 - u^a)^b))."""
    assert fc.Warped(9).computed(50) == (0, 6, 13, 20, 27, 34, 40, 45, 49)
    assert fc.Warped(9, a=0.75, b=1.7, last=1).computed(50) == (0, 16, 25, 32, 38, 42, 45, 47, 48)
    assert fc.Warped(1).computed(50) == (0,)
    assert fc.Warped(3, a=1, b=1, last=3).computed(10) == (0, 3, 6)


@given(total=st.integers(1, 60), a=st.floats(0.3, 3), b=st.floats(0.3, 3), data=st.data())
def test_a_warp_computes_so_many_different_steps(total, a, b, data):
    count = data.draw(st.integers(1, total))
    last = data.draw(st.integers(0, total - count))
    steps = fc.Warped(count, a=a, b=b, last=last).computed(total)
    assert len(steps) == count
    assert list(steps) == sorted(set(steps))
    assert steps[0] == 0
    assert steps[-1] < total


def test_a_warp_that_does_not_fit_is_refused():
    with pytest.raises(ScheduleError, match="trajectory has 8 steps: compute 7 at most"):
        fc.Warped(8, last=1).computed(8)
    with pytest.raises(ScheduleError, match="needs the number of steps, which a bare model"):
        fc.Warped(3).compute(Step(0, 0.0), State())
