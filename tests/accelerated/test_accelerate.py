"""A pipeline that learns from the pictures it makes anyway."""

from __future__ import annotations

import os
from functools import partial
from pathlib import Path

import pytest
import torch
from diffusers import (
    DDIMPipeline,
    DDIMScheduler,
    DDPMScheduler,
    DiTPipeline,
    DPMSolverMultistepScheduler,
    UniPCMultistepScheduler,
)

import forecastcache as fc
from forecastcache.errors import (
    AttachError,
    CalibrationError,
    ForecastCacheWarning,
    OptionError,
)

from ..conftest import make_pipeline, make_unconditional

STEPS = 12
ASKED = {"num_inference_steps": STEPS, "guidance_scale": 2.0, "output_type": "np"}


def call(pipe, label: int = 1, **changes) -> torch.Tensor:
    generator = torch.Generator().manual_seed(label)
    return torch.from_numpy(pipe([label], generator=generator, **(ASKED | changes)).images)


def accelerated(pipe, folder: Path, **options) -> fc.Accelerated:
    return fc.accelerate(
        pipe, **{"computed": 4, "pictures": 2, "folder": folder, "progress": False} | options
    )


@pytest.fixture(scope="module")
def learned(tmp_path_factory):
    """A pipeline that has learned from two pictures, these, and the folder of what it has."""
    folder = tmp_path_factory.mktemp("learned")
    fast = accelerated(make_pipeline(), folder)
    pictures = [call(fast, label) for label in (1, 2)]
    return fast, pictures, folder


def test_what_it_learns_from_are_the_pipelines_own_pictures(learned):
    _, pictures, _ = learned
    pipe = make_pipeline()
    assert all(torch.equal(picture, call(pipe, i + 1)) for i, picture in enumerate(pictures))


def test_then_it_samples_as_its_calibration_says(learned, tmp_path):
    fast, _, _ = learned
    picture = call(fast, 3)
    summary = fast.summary()
    assert (len(summary.computed), summary.steps) == (4, STEPS)
    fast.save(tmp_path / "cal")
    calibration = fc.Calibration.load(tmp_path / "cal")
    pipe = make_pipeline()
    with fc.attach(pipe, *calibration.choose(4)) as session:
        assert torch.equal(picture, call(pipe, 3))
    assert {it.step.index for it in session.calls if it.was_computed} == set(summary.computed)


def test_the_fit_costs_what_was_said(learned):
    fast, _, _ = learned
    summary = fast.summary()
    assert 0 < summary.fit_plain_runs <= 4
    call(fast, 3)
    said = str(fast.summary())
    assert "DiTPipeline, 4 computed steps: learned" in said
    assert "computed 4 of 12 steps: 0 " in said
    assert "rolled on pictures that the rows were not fitted to" in said


def test_the_next_process_is_fast_at_once(learned):
    fast, _, folder = learned
    again = accelerated(make_pipeline(), folder)
    assert torch.equal(call(again, 5), call(fast, 5))
    assert again.summary().state == "learned"


def test_it_closes_the_loop_nearer_than_the_formula_does(learned):
    fast, _, _ = learned
    pipe, plain = make_pipeline(), call(make_pipeline(), 7)
    schedule = fc.Listed(fast.summary().computed or (0, 4, 8, 11))
    with fc.attach(pipe, schedule, fc.Reuse()):
        reused = call(pipe, 7)
    assert (call(fast, 7) - plain).norm() < (reused - plain).norm()


@pytest.mark.parametrize(
    ("change", "named"),
    [
        ({"guidance_scale": 4.0}, "guidance_scale"),
        ({"num_inference_steps": 10}, "num_inference_steps"),
    ],
)
def test_other_calls_are_learned_on_their_own(learned, change, named):
    _, _, folder = learned
    fast, pipe = accelerated(make_pipeline(), folder), make_pipeline()
    call(fast)
    with pytest.warns(ForecastCacheWarning, match=f"another {named} than what was learned"):
        assert torch.equal(call(fast, **change), call(pipe, **change))
    assert fast.summary().state == "1 of 2 pictures recorded"


def test_other_weights_are_learned_on_their_own(learned):
    _, _, folder = learned
    other = accelerated(make_pipeline(seed=1), folder)
    call(other)
    assert other.summary().state == "1 of 2 pictures recorded"
    pipe = make_pipeline()
    changed = accelerated(pipe, folder)
    call(changed)
    with torch.no_grad():
        pipe.transformer.proj_out_2.weight.mul_(1.5)
    with pytest.warns(ForecastCacheWarning, match="another weights than"):
        call(changed)


def test_a_goal_that_was_not_learned_is_learned_beside(learned, tmp_path):
    fast, _, folder = learned
    fast.save(tmp_path / "before")
    more = accelerated(make_pipeline(), folder, computed=6)
    for label in (1, 2, 3):
        call(more, label)
    more.save(tmp_path / "after")
    counts = {len(it.computed) for it in fc.Calibration.load(tmp_path / "after").fits}
    assert counts == {4, 6}


def test_eager_it_is_fast_from_the_first_call_and_learns_when_told(tmp_path):
    pipe, fast = make_pipeline(), accelerated(make_pipeline(), tmp_path, eager=True)
    with fc.attach(pipe, fc.Warped(4), fc.VariableOrder()):
        assert torch.equal(call(pipe), call(fast))
    with pytest.raises(CalibrationError, match="nothing was recorded"):
        fast.fit()


def test_on_unknown_may_refuse(tmp_path):
    fast = accelerated(make_pipeline(), tmp_path, on_unknown="raise")
    with pytest.raises(
        CalibrationError, match="nothing was learned for such calls and 4 computed"
    ):
        call(fast)


def test_attributes_are_the_pipelines(tmp_path):
    pipe = make_pipeline()
    fast = accelerated(pipe, tmp_path)
    assert fast.transformer is pipe.transformer
    scheduler = fast.scheduler.from_config(fast.scheduler.config)
    fast.scheduler = scheduler
    assert pipe.scheduler is scheduler
    with pytest.raises(AttributeError, match="nothing_such"):
        _ = fast.nothing_such


def test_nothing_is_left_on_the_pipeline(learned):
    fast, _, _ = learned
    call(fast)
    fresh = make_pipeline()
    assert set(vars(fast.pipe)) == set(vars(fresh))
    assert set(vars(fast.pipe.scheduler)) >= set(vars(fresh.scheduler))
    assert "step" not in vars(fast.pipe.scheduler)
    assert "forward" not in vars(fast.pipe.transformer)


def test_a_nearness_out_of_reach_says_what_is_the_most(tmp_path):
    fast = accelerated(make_pipeline(), tmp_path, computed=None, psnr=150.0, pictures=1)
    with pytest.warns(ForecastCacheWarning) as heard:
        call(fast)
    said = [str(it.message) for it in heard]
    assert any("150 dB was not reached: " in it and "is the most that was" in it for it in said)
    call(fast, 2)
    assert fast.summary().steps == STEPS  # by the nearest that there is


def test_a_sampler_that_cannot_be_learned_falls_back_to_the_formula(tmp_path):
    pipe = make_pipeline()
    pipe.scheduler = type(pipe.scheduler).from_config(pipe.scheduler.config, clip_sample=True)
    fast = accelerated(pipe, tmp_path, pictures=1)
    with pytest.warns(ForecastCacheWarning, match="such calls cannot be learned from"):
        picture = call(fast)
    assert picture.shape == (1, 8, 8, 3)
    call(fast, 2)
    assert fast.summary().state.startswith("forecast by a formula, since")


def test_what_is_kept_may_be_damaged(learned, tmp_path):
    _, _, folder = learned
    (file,) = folder.glob("*.safetensors")
    (tmp_path / file.name).write_bytes(file.read_bytes()[:-100])
    fast = accelerated(make_pipeline(), tmp_path)
    with pytest.warns(ForecastCacheWarning, match="cannot be used .*; it is now .*set-aside"):
        call(fast)
    assert [it.name for it in tmp_path.iterdir()] == [file.name + ".set-aside"]


@pytest.mark.skipif(os.name != "posix", reason="a file in the folder's place is refused elsewhere")
def test_a_folder_that_cannot_be_written_is_told_once(tmp_path):
    (tmp_path / "file").write_text("in the way")
    fast = accelerated(make_pipeline(), tmp_path / "file", pictures=1)
    with pytest.warns(ForecastCacheWarning, match="what was learned is not kept") as heard:
        call(fast)
    assert len(heard) == 1
    call(fast, 2)
    assert fast.summary().steps == STEPS


@pytest.mark.parametrize(
    ("options", "complaint"),
    [
        ({"pictures": 0}, "pictures=0 is no whole number of at least 1"),
        ({"fit_cost": float("nan")}, "fit_cost=nan is no number above 0"),
        ({"on_unknown": "guess"}, "not known: write one of record, formula, raise"),
        ({"computed": 4, "speedup": 5}, "each choose by themselves"),
    ],
)
def test_options_out_of_range_are_refused(options, complaint, tmp_path):
    with pytest.raises(OptionError, match=complaint):
        accelerated(make_pipeline(), tmp_path, **options)


def test_more_steps_than_the_call_has_are_refused(tmp_path):
    fast = accelerated(make_pipeline(), tmp_path, computed=13)
    with pytest.raises(OptionError, match="computed=13 is above 12"):
        call(fast)


def test_a_bare_model_is_refused(tmp_path):
    with pytest.raises(AttachError, match="has no scheduler to learn from"):
        fc.accelerate(make_pipeline().transformer)
    pipe = make_pipeline()
    pipe.scheduler = None
    with pytest.raises(AttachError, match="has no scheduler to learn from"):
        fc.accelerate(pipe)


def test_what_is_accelerated_already_is_refused(tmp_path):
    with pytest.raises(AttachError, match="is accelerated already: call it, or accelerate its"):
        fc.accelerate(accelerated(make_pipeline(), tmp_path))


def test_a_calibration_that_was_made_before_serves(learned, tmp_path):
    fast, _, _ = learned
    fast.save(tmp_path / "cal")
    given = accelerated(make_pipeline(), tmp_path / "empty", calibration=tmp_path / "cal")
    assert torch.equal(call(given, 9), call(fast, 9))
    with pytest.warns(ForecastCacheWarning, match="than what was learned"):
        call(given, guidance_scale=3.0)


def test_an_unconditional_pipeline_learns_too(tmp_path):
    pipe = make_unconditional()
    pipe.scheduler = type(pipe.scheduler).from_config(pipe.scheduler.config, clip_sample=False)
    fast = fc.accelerate(pipe, computed=3, pictures=2, folder=tmp_path, progress=False)
    for seed in range(2):
        torch.manual_seed(seed)  # which samples are drawn from where no generator is given
        fast(batch_size=1, num_inference_steps=8, output_type="np")
    torch.manual_seed(5)
    fast(batch_size=1, num_inference_steps=8, output_type="np")
    assert len(fast.summary().computed) == 3


def test_what_forecasts_miss_is_told_and_beyond_a_bound_warned_of(learned):
    fast, _, folder = learned
    call(fast, 1)
    drift = fast.summary().drift
    assert set(drift) == set(fast.summary().computed[1:]) - {STEPS - 1}
    assert all(0 < it < 3 for it in drift.values())  # it was learned from this picture
    strict = accelerated(make_pipeline(), folder, guard=1e-3)
    with pytest.warns(ForecastCacheWarning, match="times what they did on the pictures learned"):
        call(strict, 5)


def multistep(scheduler: type) -> DiTPipeline:
    pipe = make_pipeline()
    pipe.scheduler = scheduler.from_config(pipe.scheduler.config, clip_sample=False)
    return pipe


def noisy(pipe, seed: int) -> torch.Tensor:
    asked = {"batch_size": 1, "num_inference_steps": STEPS, "output_type": "np", "eta": 0.5}
    return torch.from_numpy(pipe(generator=torch.Generator().manual_seed(seed), **asked).images)


def drawn(pipe, seed: int) -> torch.Tensor:
    torch.manual_seed(seed)  # from which DiT's pipeline takes the noise of its steps
    return call(pipe, seed)


def unclipped() -> DDIMPipeline:
    pipe = make_unconditional()
    pipe.scheduler = DDIMScheduler.from_config(pipe.scheduler.config, clip_sample=False)
    return pipe


@pytest.mark.parametrize(
    ("pipeline", "picture"),
    [
        (partial(multistep, DPMSolverMultistepScheduler), call),
        (partial(multistep, UniPCMultistepScheduler), call),
        (unclipped, noisy),
        (partial(multistep, DDPMScheduler), drawn),
    ],
    ids=["DPM++", "UniPC", "DDIM with noise", "DDPM with noise of the global generator"],
)
def test_other_samplers_are_learned_too(tmp_path, pipeline, picture):
    fast = accelerated(pipeline(), tmp_path)
    for seed in (1, 2):
        assert torch.equal(picture(fast, seed), picture(pipeline(), seed))
    near, plain, pipe = picture(fast, 3), picture(pipeline(), 3), pipeline()
    assert fast.summary().state == "learned"
    with fc.attach(pipe, fc.Listed(fast.summary().computed), fc.Reuse()):
        reused = picture(pipe, 3)
    assert (near - plain).norm() < (reused - plain).norm()
