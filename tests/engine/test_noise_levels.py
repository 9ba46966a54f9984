from __future__ import annotations

import math

import pytest
import torch
from diffusers import (
    DDIMScheduler,
    DPMSolverMultistepScheduler,
    EDMEulerScheduler,
    FlowMatchEulerDiscreteScheduler,
    UniPCMultistepScheduler,
)

import forecastcache as fc
from forecastcache.engine.clock import Clock
from forecastcache.engine.noise_levels import log_snrs
from forecastcache.errors import AttachError
from forecastcache.testing.fake_pipeline import FakePipeline

from ..conftest import sample


def test_flow_matching_counts_signal_against_noise():
    scheduler = FlowMatchEulerDiscreteScheduler(shift=3.0)
    scheduler.set_timesteps(10)
    levels = log_snrs(scheduler)
    assert levels[0] == -math.inf  # sigma = 1: pure noise
    for position in range(1, 10):
        sigma = float(scheduler.sigmas[position])
        assert levels[position] == pytest.approx(2 * math.log((1 - sigma) / sigma))


@pytest.mark.parametrize("kind", [DDIMScheduler, DPMSolverMultistepScheduler])
def test_diffusion_reads_alphas_cumprod(kind):
    scheduler = kind()
    scheduler.set_timesteps(10)
    for level, t in zip(log_snrs(scheduler), scheduler.timesteps.tolist(), strict=True):
        kept = float(scheduler.alphas_cumprod[t])
        assert level == pytest.approx(math.log(kept / (1 - kept)), rel=1e-4)


def test_a_diffusion_scheduler_told_to_follow_a_flow_does():
    scheduler = UniPCMultistepScheduler(
        use_flow_sigmas=True, prediction_type="flow_prediction", flow_shift=3.0
    )
    scheduler.set_timesteps(10)
    sigma = float(scheduler.sigmas[4])
    assert log_snrs(scheduler)[4] == pytest.approx(2 * math.log((1 - sigma) / sigma))


def test_levels_rise_along_a_run_and_come_with_the_steps(pipe):
    with fc.attach(pipe, fc.Every(3), fc.Newton(1, "logsnr")) as session:
        sample(pipe, steps=8)
    calls = session.report().calls
    levels = [call.step.logsnr for call in calls]
    assert all(b > a for a, b in zip(levels, levels[1:]))
    assert levels == log_snrs(pipe.scheduler).tolist()


def test_one_that_does_not_tell_is_refused_at_attach(pipe):
    pipe.scheduler = EDMEulerScheduler()
    assert log_snrs(pipe.scheduler) is None
    for target in (pipe, pipe.transformer):
        with pytest.raises(AttachError, match="needs the noise level.*coordinate='time'"):
            fc.attach(target, fc.Every(3), fc.Newton(1, "logsnr"))
        assert "forward" not in pipe.transformer.__dict__


def test_nothing_is_read_from_what_is_no_scheduler():
    assert log_snrs(object()) is None
    assert log_snrs(torch.nn.Identity()) is None


@pytest.mark.parametrize("begin", [0, 1, 4, 9])
def test_a_run_from_image_to_image_has_the_levels_of_its_end(begin):
    """It runs the last of the scheduler's timesteps only, and counts its own steps from 0."""
    pipe = FakePipeline([1.0])
    pipe.scheduler = FlowMatchEulerDiscreteScheduler(shift=3.0)
    pipe.scheduler.set_timesteps(10)
    pipe.scheduler.set_begin_index(begin)
    clock = Clock(pipe)
    steps = [
        clock.advance(float(time), torch.full((2,), float(time))).step
        for time in pipe.scheduler.timesteps[begin:]
    ]
    assert [step.index for step in steps] == list(range(10 - begin))
    assert {step.total for step in steps} == {10 - begin}
    assert [step.logsnr for step in steps] == log_snrs(pipe.scheduler)[begin:].tolist()
    assert steps[-1].is_last
