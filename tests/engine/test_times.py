"""Times of a run that are known without a look at the device.

A tensor on the meta device has no data: whoever reads it fails.
"""

from __future__ import annotations

import pytest
import torch

from forecastcache.engine.clock import Clock
from forecastcache.engine.times import RunTimes, place_in, telling_time
from forecastcache.testing.fake_pipeline import FakePipeline

RUN = [999.0, 750.0, 500.0, 250.0]
FORMS = {
    "the scheduler's": lambda t: t,
    "a part of training's": lambda t: t / 1000,
    "what is left": lambda t: 1 - t / 1000,
}


class Counting(FakePipeline):
    """A pipeline whose scheduler counts its steps, from the first of them on."""

    def __init__(self, times: list[float]) -> None:
        super().__init__(times)
        self.scheduler.timesteps = torch.tensor(times)
        self.scheduler.step_index = None

    def moves_on(self) -> None:
        self.scheduler.step_index = (self.scheduler.step_index or 0) + 1


def test_of_several_times_the_schedulers_own_tells_the_step():
    run = torch.tensor(RUN)
    image = run[1]
    for text in (0, 1000, run[1], torch.tensor(9.0)):
        assert telling_time(run, (image, text)) is image
        assert place_in(run, telling_time(run, (text, image))) == 1


def test_several_times_of_nobodys_are_told_like_those_of_tokens():
    for run in (None, torch.tensor(RUN)):
        times = telling_time(run, (torch.tensor([750.0, 0.0]), 3, torch.tensor(500.0)))
        assert torch.equal(times, torch.tensor([750.0, 0.0, 3.0, 500.0]))
        assert telling_time(run, (7.0,)) == telling_time(run, 7.0) == 7.0


@pytest.mark.parametrize("begin", [0, 1])
def test_a_view_of_the_times_tells_its_place(begin):
    run = torch.tensor([1.0, *RUN])[begin:]
    for place in range(len(run)):
        one = run[place]
        for view in (one, run[place:][0], one[None].expand(3), run[place : place + 1]):
            assert place_in(run, view) == place


def test_what_is_no_view_of_one_time_has_no_place():
    run = torch.tensor(RUN)
    for given in (run.clone()[1], run, run[1:3], run[1] / 1000, run.long()[1], 999.0):
        assert place_in(run, given) is None
    assert place_in(None, run[0]) is None


@pytest.mark.parametrize("name", FORMS)
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize("first", [0, 1])  # image-to-image leaves out some
def test_the_first_time_shows_in_which_form_all_are_told(name, dtype, first):
    form = FORMS[name]
    times = RunTimes(torch.tensor(RUN), scheduler=None)
    given = form(torch.tensor(RUN[first])).to(dtype)
    times.begin = first
    times.narrow(0, float(given), given)
    exact = form(torch.tensor(RUN)).tolist()
    assert [times.told(index) for index in range(len(RUN) - first)] == exact[first:]


def test_where_two_forms_are_the_same_the_next_time_shows_it():
    times = RunTimes(torch.tensor(RUN), scheduler=None)
    times.begin = 2
    times.narrow(0, 0.5, torch.tensor(0.5))
    assert times.told(1) is None
    times.narrow(1, 0.75, torch.tensor(0.75))
    assert times.told(1) == 0.75


def test_in_another_form_they_are_not_told():
    times = RunTimes(torch.tensor(RUN), scheduler=None)
    times.narrow(0, 6.9, torch.tensor(6.9))
    assert times.told(1) is None


def test_a_counting_scheduler_spares_reading_the_times():
    pipe, sample = Counting(RUN), torch.zeros(2)
    clock = Clock(pipe)
    positions = [clock.advance(torch.tensor([0.999]), sample)]
    for _ in RUN[1:]:
        pipe.moves_on()
        positions.append(clock.advance(torch.empty(1, device="meta"), sample))
    assert [it.step.index for it in positions] == [0, 1, 2, 3]
    assert [it.step.time for it in positions] == pytest.approx([t / 1000 for t in RUN])
    assert [it.starts for it in positions] == [True, False, False, False]


def test_views_of_the_times_spare_reading_them_whatever_the_scheduler_tells():
    pipe, sample = FakePipeline(RUN), torch.zeros(2)
    clock = Clock(pipe)
    places = []
    for time in pipe.scheduler.timesteps:
        for _ in range(2):
            position = clock.advance(time.expand(2), sample + time)
            places.append((position.step.index, position.order, position.step.time))
    assert places == [(i, order, time) for i, time in enumerate(RUN) for order in range(2)]


def test_a_count_that_stands_still_while_times_move_is_not_believed():
    """The pipeline steps another scheduler than the one that it shows."""
    pipe, clock = Counting(RUN), None
    clock = Clock(pipe)
    positions = [clock.advance(torch.tensor(time), torch.full((2,), time)) for time in RUN]
    assert [(it.step.index, it.order) for it in positions] == [(0, 0), (1, 0), (2, 0), (3, 0)]
    assert [it.step.time for it in positions] == RUN


def test_a_place_before_the_last_one_opens_another_trajectory():
    pipe = FakePipeline(RUN)
    clock, times = Clock(pipe), pipe.scheduler.timesteps
    starts = [clock.advance(times[place], torch.zeros(2)).starts for place in (0, 1, 0, 1, 2)]
    assert starts == [True, False, True, False, False]
