"""The suite passes what conforms and names what does not."""

from __future__ import annotations

import itertools

import pytest

import forecastcache as fc
from forecastcache.errors import ConformanceError, ScheduleError
from forecastcache.testing import check_schedule

from ..built_ins import schedules


@pytest.mark.filterwarnings("ignore:.* was published for")  # of a preset, whose model is not this
@pytest.mark.parametrize("schedule", schedules(), ids=str)
def test_every_built_in_conforms(schedule):
    check_schedule(schedule)


class WhenMoved(fc.Schedule):
    """Adaptive, and as it should be."""

    threshold: float = 0.2

    def compute(self, step, state):
        known = state.memory.get("sample")
        if known is not None and (state.sample - known).abs().mean() < self.threshold:
            return False
        state.memory["sample"] = state.sample.clone()
        return True


class FirstBlock(WhenMoved):
    threshold: float = 0.05

    @property
    def needs(self):
        return frozenset({"first_block"})

    def compute(self, step, state):
        seen, known = state.first_block_residual(), state.memory.get("seen")
        if known is not None and (seen - known).norm() < self.threshold * known.norm():
            return False
        state.memory["seen"] = seen
        return True


@pytest.mark.parametrize("schedule", [WhenMoved(), FirstBlock()], ids=str)
def test_adaptive_ones_conform(schedule):
    check_schedule(schedule, total=20)


class Holds(WhenMoved):
    def compute(self, step, state):
        known = state.memory.get("sample")
        if known is not None and (state.sample - known).abs().mean() < self.threshold:
            return False
        state.memory["sample"] = state.sample
        return True


class Counts(WhenMoved):
    def compute(self, step, state):
        return next(CALLS) % 7 == 0


class Writes(WhenMoved):
    def compute(self, step, state):
        state.sample.zero_()
        return True


class WritesData(WhenMoved):
    """Writes where torch does not count it, which a session cannot see."""

    def compute(self, step, state):
        state.sample.data.zero_()
        return True


class Fails(WhenMoved):
    def compute(self, step, state):
        return 1 / (step.index - 3) > 0


class Unasked(WhenMoved):
    def compute(self, step, state):
        return bool(state.modulated_embedding().mean() > 0)


class Vague(WhenMoved):
    def compute(self, step, state):
        return state.sample.mean() > 0


class Wants(WhenMoved):
    @property
    def needs(self):
        return frozenset({"moon"})


class Promises(fc.Schedule):
    def computed(self, total):
        return (0, 5)

    def compute(self, step, state):
        return step.index in (0, 6)


class Backwards(Promises):
    def computed(self, total):
        return (5, 0)


CALLS = itertools.count()


@pytest.mark.parametrize(
    ("kind", "complaint"),
    [
        (Holds, r"computed \[0, .*\], and \[0\] where samples are written over.*clone"),
        (Counts, "in a first run and .* in a second: keep what it remembers in state.memory"),
        (Writes, "wrote to a tensor of its state, which is the model's own: copy"),
        (WritesData, "wrote to the sample: copy what is to be changed"),
        (Fails, r"fails at time 850 of 20 steps \(ZeroDivisionError"),
        (Unasked, "looks at modulated, but does not ask for it"),
        (Vague, r"compute gave tensor\(\w+\): it must give True or False"),
        (Wants, r"needs \['moon'\]: ask for some of output, first_block, modulated"),
        (Promises, r"foresees \(0, 5\) of 20 steps, and computed \[0, 6\]"),
        (Backwards, r"foresees \(5, 0\): steps rise, from 0 to 19"),
    ],
)
def test_what_does_not_conform_is_named(kind, complaint):
    with pytest.raises(ConformanceError, match=complaint) as error:
        check_schedule(kind(), total=20)
    assert isinstance(error.value, AssertionError)


class Halves(Promises):
    def computed(self, total):
        return (0, 5 // (total - 20))


class Short(WhenMoved):
    def check(self, total):
        if total > 10:
            raise ScheduleError(f"at most 10 steps, not {total}")


@pytest.mark.parametrize(
    ("schedule", "complaint"),
    [
        (fc.Listed([0, 60]), r"not fit 20 steps \(ScheduleError: the schedule names step 60"),
        (Short(), r"not fit 20 steps \(ScheduleError: at most 10 steps, not 20\): give check"),
        (Halves(), r"not fit 20 steps \(ZeroDivisionError"),
    ],
)
def test_one_that_does_not_fit_the_steps_is_named(schedule, complaint):
    with pytest.raises(ConformanceError, match=complaint):
        check_schedule(schedule, total=20)


def test_it_is_held_to_the_steps_that_it_serves():
    check_schedule(fc.Listed([0, 60]), total=61)
    with pytest.raises(ConformanceError, match=r"does not fit 50 steps .* give check_schedule"):
        check_schedule(fc.Listed([0, 60]))


def test_what_is_no_schedule_is_named():
    for thing in (fc.Every, "every:5"):
        with pytest.raises(ConformanceError, match="is no schedule: give an object"):
            check_schedule(thing)


def test_a_class_that_cannot_be_pickled_is_told_what_to_do():
    class Local(WhenMoved):
        """Defined in a function."""

    with pytest.raises(ConformanceError, match="from pickle .* at the top of a module"):
        check_schedule(Local())
