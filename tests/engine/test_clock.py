"""Which call is at which step of which trajectory."""

from __future__ import annotations

import warnings

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

import forecastcache as fc
from forecastcache.engine.clock import Clock


class Pipeline:
    """As much of a pipeline as a clock reads: a scheduler that makes new timesteps a run."""

    class Scheduler:
        order = 1

        def set_timesteps(self, times: list[float]) -> None:
            self.timesteps = torch.tensor(times)

    def __init__(self) -> None:
        self.scheduler = self.Scheduler()

    def start(self, times: list[float]) -> None:
        self.scheduler.set_timesteps(times)


times = st.lists(st.integers(1, 1000), min_size=1, max_size=8, unique=True)


def read(clock: Clock, calls: list[tuple[float, torch.Tensor]]) -> list[tuple[int, int, bool]]:
    positions = [clock.advance(time, sample) for time, sample in calls]
    return [(it.step.index, it.order, it.starts) for it in positions]


@given(runs=st.lists(times, min_size=1, max_size=4), branches=st.integers(1, 3))
def test_a_pipelines_runs_are_told_apart_whatever_their_times(runs, branches):
    pipeline = Pipeline()
    clock = Clock(pipeline)
    for run in runs:
        # Falling as diffusion models are told them, or rising as Lumina is.
        for falling in (True, False):
            ordered = sorted(run, reverse=falling)
            pipeline.start(ordered)
            samples = [torch.rand(2) for _ in ordered]
            calls = [(float(t), x) for t, x in zip(ordered, samples) for _ in range(branches)]
            expected = [(i, b, (i, b) == (0, 0)) for i in range(len(run)) for b in range(branches)]
            assert read(clock, calls) == expected


@given(runs=st.lists(times, min_size=1, max_size=4), branches=st.integers(1, 2))
def test_a_bare_models_runs_are_told_apart_when_each_begins_high(runs, branches):
    clock = Clock(None)
    for run in runs:
        falling = [1001, *sorted(run, reverse=True), 0]
        samples = [torch.rand(3) for _ in falling]
        calls = [(t, x) for t, x in zip(falling, samples) for _ in range(branches)]
        expected = [(i, b, (i, b) == (0, 0)) for i in range(len(falling)) for b in range(branches)]
        assert read(clock, calls) == expected


def test_the_same_time_with_another_sample_is_a_new_run_of_a_bare_model():
    clock, one, other = Clock(None), torch.zeros(3), torch.ones(3)
    calls = [(999.0, one), (999.0, one.clone()), (999.0, other)]
    assert read(clock, calls) == [(0, 0, True), (0, 1, False), (0, 0, True)]


def test_steps_whose_times_are_rounded_to_one_are_told_by_the_schedulers_count():
    """FLUX gives its model times in bfloat16; at 2048 px neighbours of 50 steps coincide."""
    pipeline = Pipeline()
    clock = Clock(pipeline)
    for _ in range(2):
        pipeline.start([1000.0, 998.0, 996.0, 990.0])
        pipeline.scheduler.step_index = None
        positions = []
        for i, time in enumerate([1.0, 1.0, 0.996, 0.99]):
            x = torch.rand(2)
            # The samples of one step may differ.
            positions += [clock.advance(time, x), clock.advance(time, x * 1.5)]
            pipeline.scheduler.step_index = i + 1
        places = [(it.step.index, it.order) for it in positions]
        assert places == [(i, b) for i in range(4) for b in range(2)]
        assert [it.starts for it in positions] == [True] + [False] * 7


def test_the_same_buffer_written_over_is_another_sample():
    clock, buffer = Clock(None), torch.zeros(3)
    first = clock.advance(999.0, buffer)
    buffer += 1
    assert (first.starts, clock.advance(999.0, buffer).starts) == (True, True)


def test_image_to_image_counts_the_steps_it_runs():
    pipeline = Pipeline()
    pipeline.start([900.0, 600.0, 300.0])
    pipeline._num_timesteps = 3  # left over from another run
    assert Clock(pipeline).advance(600.0, torch.zeros(1)).step == fc.Step(0, 600.0, 2)


def test_the_number_of_steps_is_the_pipelines():
    pipeline = Pipeline()
    pipeline.start([900.0, 600.0, 300.0])
    clock = Clock(pipeline)
    assert clock.advance(900.0, torch.zeros(1)).step == fc.Step(0, 900.0, 3)
    pipeline.start([900.0, 600.0, 300.0])
    pipeline._num_timesteps = 2  # image-to-image begins at 600, and tells the model 0.6
    assert clock.advance(0.6, torch.zeros(1)).step == fc.Step(0, 0.6, 2)
    assert Clock(None).advance(900.0, torch.zeros(1)).step.total is None


def test_frames_with_times_of_their_own_are_placed_by_all_of_them():
    """As SkyReels-V2's asynchronous forcing, which never steps the scheduler that it shows."""
    pipeline = Pipeline()
    pipeline.start([900.0, 600.0, 300.0])
    pipeline.scheduler.step_index = None
    clock, places = Clock(pipeline), []
    for step, times in enumerate(([900, 900], [600, 900], [300, 900], [300, 600], [0, 300])):
        given = torch.tensor([times], dtype=torch.float32)
        for _ in range(2):  # guidance
            position = clock.advance(given, torch.full((2,), float(step)))
            places.append((position.step.index, position.order))
    assert places == [(i, b) for i in range(5) for b in range(2)]


def test_a_time_that_is_no_number_is_refused_as_that():
    empty = torch.empty(1, 0)
    for time, named in (("soon", "'soon'"), (empty, r"a tensor \(1, 0\) of torch.float32")):
        with pytest.raises(fc.errors.AttachError, match=f"cannot be placed by its time, {named}"):
            Clock(None).advance(time, torch.zeros(1))


def test_windows_that_each_open_a_trajectory_are_warned_of_once():
    """As MultiDiffusion, which gives its scheduler a copy of the timesteps for each window."""
    pipeline, times = Pipeline(), [900.0, 600.0, 300.0]
    clock = Clock(pipeline)

    def denoise() -> None:
        for time in times:
            for window in range(2):
                pipeline.start(times)
                assert clock.advance(time, torch.full((2,), float(window))).starts

    with pytest.warns(fc.errors.ForecastCacheWarning) as warned:
        denoise()
    assert len(warned) == 1
    assert "every call of Pipeline opens a trajectory" in str(warned[0].message)


def test_runs_that_are_abandoned_at_once_are_no_windows():
    pipeline, times = Pipeline(), [900.0, 600.0, 300.0]
    clock = Clock(pipeline)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        for seed in range(4):
            pipeline.start(times)
            clock.advance(900.0, torch.full((2,), float(seed)))
            clock.reset()  # as at the end of the pipeline's loop


@pytest.mark.parametrize(("chunked", "total"), [(True, 4), (False, 12)])
def test_frames_with_times_have_the_pipelines_number_of_steps_but_for_chunks(chunked, total):
    pipeline = Pipeline()
    pipeline._num_timesteps = 12
    clock = Clock(pipeline, chunked)
    for _ in range(3):
        pipeline.start([900.0, 700.0, 500.0, 300.0])
        for index, time in enumerate(pipeline.scheduler.timesteps):
            frames = time.expand(2, 1).repeat(1, 3)
            at = clock.advance(frames, torch.full((2,), float(index)), pipeline)
            assert (at.step.index, at.step.total, at.starts) == (index, total, index == 0)
