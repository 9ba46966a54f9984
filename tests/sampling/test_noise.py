"""Noise that schedulers draw is that of the samples' own seeds."""

from __future__ import annotations

import diffusers
import pytest
import torch

from forecastcache.sampling.request import Request
from forecastcache.sampling.trajectory import trajectory_of

from ..conftest import make_pipeline

ASKED = Request(steps=4, classes=("1", "2", "3"), seeds=(5, 6, 7))


def final(request: Request, scheduler: str) -> torch.Tensor:
    pipe = make_pipeline()
    config = pipe.scheduler.config
    pipe.scheduler = getattr(diffusers, scheduler).from_config(config)
    with trajectory_of(pipe, len(request)) as seen:
        request.run(pipe)
    assert "step" not in vars(pipe.scheduler)
    return seen.samples[-1]


@pytest.mark.parametrize("scheduler", ["DDPMScheduler", "EulerAncestralDiscreteScheduler"])
def test_a_samples_noise_is_its_own_whatever_its_batch(scheduler):
    """DiT's pipeline hands its generators to no step, and carries each sample twice."""
    whole = final(ASKED, scheduler)
    assert torch.equal(final(ASKED, scheduler), whole)
    parts = ASKED.split(make_pipeline(), 2)
    parted = torch.cat([final(part, scheduler) for part in parts])
    torch.testing.assert_close(parted, whole, rtol=1e-4, atol=1e-4)
    other = final(Request(steps=4, classes=("1",), seeds=(6,)), scheduler)
    assert not torch.allclose(other, whole[:1], atol=0.1)


def test_the_global_generator_is_seeded_and_put_back():
    pipe, drawn = make_pipeline(), []
    step = pipe.scheduler.step

    def unseeded(model_output, timestep, sample):  # takes no generator
        drawn.append(torch.rand(()))
        return step(model_output, timestep, sample)

    pipe.scheduler.step = unseeded
    state = torch.get_rng_state()
    ASKED.run(pipe)
    ASKED.run(pipe)
    assert drawn[:4] == drawn[4:]
    assert torch.equal(torch.get_rng_state(), state)
    assert pipe.scheduler.step is unseeded
