"""A call belongs to the thread and the pipeline that makes it, and a run ends with its loop."""

from __future__ import annotations

import contextlib
import copy
import gc
import threading
import weakref
from typing import Any

import diffusers
import pytest
import torch

import forecastcache as fc
from forecastcache.engine.caller import calling_pipeline

from ..adapters.pipelines import PIPELINES, flux_pipeline, flux_request, picture, run
from ..conftest import SITES, make_pipeline, sample

EVERY_THIRD, LINE = fc.Every(3, first=2), fc.Taylor(order=1)


def twin(pipe: Any) -> Any:
    """Another pipeline with the same transformer and a scheduler of its own."""
    other = diffusers.FluxPipeline(**(pipe.components | {"scheduler": copy.copy(pipe.scheduler)}))
    other.set_progress_bar_config(disable=True)
    return other


@pytest.mark.parametrize("site", SITES)
def test_two_threads_that_share_a_transformer_take_turns(site):
    """Each run, step by step in between the other's, is what it is alone."""
    one = flux_pipeline()
    pipes, requests = (one, twin(one)), (flux_request(8), flux_request(7))

    def made(index: int, **changes: Any) -> torch.Tensor:
        return run(pipes[index], requests[index], seed=index, **changes)

    with fc.attach(one, EVERY_THIRD, LINE, site=site):
        alone = [made(index) for index in (0, 1)]
        together: dict[int, torch.Tensor] = {}
        barrier = threading.Barrier(2)

        def pause(*_: Any) -> dict[str, Any]:
            with contextlib.suppress(threading.BrokenBarrierError):  # the other has ended
                barrier.wait(timeout=10)
            return {}

        def work(index: int) -> None:
            together[index] = made(index, callback_on_step_end=pause)
            barrier.abort()

        threads = [threading.Thread(target=work, args=(index,)) for index in (0, 1)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    assert all(torch.equal(together[index], alone[index]) for index in (0, 1))


@pytest.mark.parametrize("site", ["output", "module"])
def test_many_threads_with_runs_of_all_kinds(site):
    """One session for a model that eight pipelines share; some of the runs are broken off."""
    one = flux_pipeline()
    pipes = [one, *(twin(one) for _ in range(7))]
    kinds = [(steps, size) for steps in (5, 8) for size in ((16, 24), (24, 24), (32, 16))]

    def made(pipe: Any, kind: int, **changes: Any) -> torch.Tensor:
        steps, (height, width) = kinds[kind % len(kinds)]
        return run(pipe, flux_request(steps, height=height, width=width), seed=kind, **changes)

    with fc.attach(one, EVERY_THIRD, LINE, site=site):
        alone = [made(one, kind) for kind in range(12)]
        together: list[tuple[int, torch.Tensor]] = []

        def work(index: int) -> None:
            for kind in range(index, index + 12, 2):
                if (kind + index) % 5 == 0:
                    with pytest.raises(ZeroDivisionError):
                        made(pipes[index], kind % 12, callback_on_step_end=fail)
                else:
                    together.append((kind % 12, made(pipes[index], kind % 12)))

        threads = [threading.Thread(target=work, args=(index,)) for index in range(8)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    assert len(together) > 35
    assert all(torch.equal(picture, alone[kind]) for kind, picture in together)


def test_steps_are_those_of_the_pipeline_that_calls():
    """Made by `from_pipe` it shares the scheduler too, and notes its number of steps itself."""
    text = flux_pipeline()
    edit = diffusers.FluxImg2ImgPipeline(**text.components)
    edit.set_progress_bar_config(disable=True)
    request = flux_request(20, image=picture(), strength=0.5)
    schedule = fc.Every(3, first=2, last=1)
    with fc.attach(edit, schedule, LINE) as session:
        wanted, computed = run(edit, request), session.report().computed
    with fc.attach(text, schedule, LINE) as session:
        run(text, flux_request(8))
        assert torch.equal(run(edit, request), wanted)
        assert session.report().computed == computed
        assert {call.step.total for call in session.report().calls} == {10}


@pytest.mark.parametrize(
    ("pipeline", "changes", "steps"),
    [
        ("FluxPipeline", {"num_inference_steps": 5}, 5),
        ("FluxImg2ImgPipeline", {"image": picture(), "strength": 0.5}, 4),
    ],
    ids=["fewer steps", "image-to-image"],
)
def test_rows_for_another_number_of_steps_are_refused_as_that(pipeline, changes, steps):
    """Before the schedule complains of steps that the run does not have."""
    rows = [{"target": target, "computed": [0], "weights": [1.0]} for target in range(1, 7)]
    pipe = flux_pipeline(pipeline)
    fitted = fc.Learned(rows, [float(time) for time in range(8, 0, -1)])
    refusal = f"fitted on 8 steps, but the trajectory has {steps}: ask the pipeline for 8 steps"
    with (
        fc.attach(pipe, fc.Listed([0, 7]), fitted),
        pytest.raises(fc.errors.TrajectoryError, match=refusal),
    ):
        run(pipe, flux_request(8) | changes)


def test_a_run_that_leaves_out_the_last_steps_has_as_many_as_it_makes(pipe):
    """As `denoising_end` does: the pipeline notes how many of the times it goes through."""

    class Part:
        """A pipeline that runs the first `count` of the scheduler's times."""

        def __init__(self) -> None:
            self.transformer, self.scheduler = pipe.transformer, pipe.scheduler

        def __call__(self, count: int) -> None:
            self.scheduler.set_timesteps(10)
            self._num_timesteps = count
            latents = torch.zeros(1, 4, 8, 8)
            for time in self.scheduler.timesteps[:count]:
                self.transformer(latents, timestep=time[None], class_labels=torch.tensor([1]))

    part = Part()
    with fc.attach(part, fc.Every(4, last=1), fc.Reuse()) as session:
        part(6)
        assert session.report().computed == (0, 1, 2, 5)
        assert {call.step.total for call in session.report().calls} == {6}
        assert not held(session)


def test_the_innermost_pipeline_that_has_the_model_is_the_caller(pipe):
    class Inner:
        scheduler, transformer = None, pipe.transformer

        def __call__(self) -> object:
            return calling_pipeline(pipe.transformer)

    class Outer(Inner):
        def __call__(self) -> object:
            return Inner.__call__(inner)

    inner = Inner()
    assert calling_pipeline(pipe.transformer) is None
    assert Outer()() is inner


def held(session: fc.Session) -> bool:
    return any(run._branches for run in session._runs.every())


def stop(pipe: Any, step: int, *_: Any) -> dict[str, Any]:
    pipe._interrupt = step == 3
    return {}


def fail(pipe: Any, step: int, *_: Any) -> dict[str, Any]:
    if step == 3:
        raise ZeroDivisionError
    return {}


@pytest.mark.parametrize("callback", [stop, fail])
@pytest.mark.parametrize("name", ["flux", "wan", "hunyuan_video", "qwen_image"])
def test_nothing_is_held_once_the_loop_was_left(name, callback):
    case = PIPELINES[name]()
    with fc.attach(case.pipe, EVERY_THIRD, LINE) as session:
        try:
            run(case.pipe, case.request, callback_on_step_end=callback)
        except ZeroDivisionError:
            assert callback is fail
        assert len({call.step for call in session.report().calls}) == 4
        assert not held(session)
    assert "progress_bar" not in vars(case.pipe)


def test_nothing_is_held_once_a_loop_over_the_bar_was_left(pipe):
    plain = sample(pipe)
    step = pipe.scheduler.step
    with fc.attach(pipe, fc.Every(1), LINE) as session:
        assert torch.equal(sample(pipe), plain)

        def interrupt(*_: Any, **__: Any) -> None:
            raise KeyboardInterrupt

        pipe.scheduler.step = interrupt
        with pytest.raises(KeyboardInterrupt):
            sample(pipe)
        pipe.scheduler.step = step
        assert not held(session)


class Exploding(fc.Reuse):
    def weights(self, computed, target):
        return [1e39]


def test_a_run_that_was_interrupted_tells_of_what_was_not_finite():
    case = PIPELINES["flux"]()
    with (
        fc.attach(case.pipe, fc.Listed([0]), Exploding()),
        pytest.raises(fc.errors.NotFiniteError, match="step 1 is not finite"),
    ):
        run(case.pipe, case.request, callback_on_step_end=stop)


def test_forecasts_follow_autocast_that_is_switched_in_a_run():
    model = torch.nn.Linear(3, 3)

    class Timed(torch.nn.Module):
        def forward(self, x, timestep):
            return model(x) * timestep

    timed, dtypes = Timed(), []
    with fc.attach(timed, fc.Listed([0]), fc.Reuse()), torch.no_grad():
        for time in (6, 5, 4, 3, 2, 1):
            with torch.autocast("cpu", torch.bfloat16, enabled=time in (4, 3)):
                dtypes.append(timed(torch.ones(1, 3), time).dtype)
    assert dtypes == [torch.float32] * 2 + [torch.bfloat16] * 2 + [torch.float32] * 2


def test_a_session_held_by_nobody_goes_with_its_model():
    pipe = make_pipeline()
    fc.attach(pipe, EVERY_THIRD, LINE, site="module")
    sample(pipe)
    block = pipe.transformer.transformer_blocks[0]
    gone = [weakref.ref(each) for each in (pipe.transformer, block, block.attn1)]
    del block
    gc.collect()
    gc.disable()
    try:
        del pipe
        assert [each() for each in gone] == [None] * 3
    finally:
        gc.enable()


def test_a_session_that_is_held_lets_its_model_go():
    pipe = make_pipeline()
    session = fc.attach(pipe, EVERY_THIRD, LINE, site="module")
    sample(pipe)
    block = pipe.transformer.transformer_blocks[0]
    gone = [weakref.ref(each) for each in (pipe.transformer, block, block.attn1)]
    del block
    del pipe
    gc.collect()
    assert [each() for each in gone] == [None] * 3
    assert not session.attached
    session.detach()


def test_times_that_are_nan_are_refused():
    model = make_pipeline().transformer
    with (
        fc.attach(model, EVERY_THIRD, LINE),
        pytest.raises(fc.errors.AttachError, match="time that is NaN"),
    ):
        model(torch.zeros(1, 4, 8, 8), timestep=torch.tensor([torch.nan]))


def test_a_progress_bar_of_somebody_elses_is_put_back():
    pipe, opened = make_pipeline(), []
    own = pipe.progress_bar

    def theirs(*args: Any, **kwargs: Any) -> Any:
        opened.append(1)
        return own(*args, **kwargs)

    pipe.progress_bar = theirs
    with fc.attach(pipe, EVERY_THIRD, LINE):
        sample(pipe)
    assert opened == [1]
    assert vars(pipe)["progress_bar"] is theirs
