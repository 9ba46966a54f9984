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
from forecastcache.errors import AttachError
from forecastcache.noise import log_snrs

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
