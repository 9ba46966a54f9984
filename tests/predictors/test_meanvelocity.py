"""The average velocity of the interval ahead, from the latent's own path."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

import forecastcache as fc
from forecastcache.errors import AttachError, HistoryError
from forecastcache.predictor import Sampling
from forecastcache.testing.fake_pipeline import FakePipeline

from ..conftest import make_pipeline, sample
from .seen import history_beside, rand

SHAPE = (2, 3, 4)
levels = st.lists(st.floats(0.02, 1), min_size=3, max_size=3, unique_by=lambda x: round(x, 2))


def step(index, sigma):
    with np.errstate(divide="ignore"):
        return fc.Step(index, sigma, 50, logsnr=float(2 * np.log((1 - sigma) / np.float64(sigma))))


@given(sigmas=levels, seed=st.integers(0, 99))
def test_it_is_the_exact_average_where_velocity_is_linear_in_sigma(sigmas, seed):
    a, b, x = (rand(seed + i, *SHAPE) for i in range(3))
    r, t, s = sorted(sigmas, reverse=True)

    def average(start, end):
        return a + b * (start + end) / 2

    latents = [x + (sigma - r) * average(r, sigma) for sigma in (r, t, s)]
    velocities = [a + b * sigma for sigma in (r, t)]
    steps = [step(3, r), step(8, t)]
    found = fc.MeanVelocity().forecast(
        history_beside(steps, velocities, "latent", latents), step(12, s)
    )
    torch.testing.assert_close(found, average(t, s), rtol=1e-6, atol=1e-8)


@given(sigmas=levels, seed=st.integers(0, 99))
def test_where_the_latent_went_at_the_older_velocity_it_is_reuse(sigmas, seed):
    older, newer, x = (rand(seed + i, *SHAPE) for i in range(3))
    r, t, s = sorted(sigmas, reverse=True)
    latents = [x + (sigma - r) * older for sigma in (r, t, s)]
    history = history_beside([step(3, r), step(8, t)], [older, newer], "latent", latents)
    found = fc.MeanVelocity().forecast(history, step(12, s))
    torch.testing.assert_close(found, newer, rtol=1e-6, atol=1e-8)


class Field(torch.nn.Module):
    def forward(self, sample, timestep):
        return torch.tanh(sample * timestep) + sample.flip(-1) / 3


def test_in_a_session_it_follows_the_latent_of_the_run():
    computed = (0, 1, 2, 6, 10, 14)
    pipe = FakePipeline([1 - i / 20 for i in range(20)], Field())
    sigmas = [*pipe.scheduler.sigmas.tolist(), 0.0]

    def run(velocity):
        x = rand(0, *SHAPE)
        for i, time in enumerate(pipe.scheduler.timesteps):
            x = x + (sigmas[i + 1] - sigmas[i]) * velocity(i, time, x)
        return x

    kept = {}

    def oracle(i, time, x):
        if i in computed:
            kept[i] = Field()(x, time), x
            return kept[i][0]
        r, t = sorted(kept)[-2:]
        (v_r, x_r), (v_t, _) = kept[r], kept[t]
        u = (x - x_r) / (sigmas[i] - sigmas[r])
        return v_t - (v_r - u) / (sigmas[i] - sigmas[r]) * (sigmas[i] - sigmas[t])

    with fc.attach(pipe, fc.Listed(computed), fc.MeanVelocity()):
        found = run(lambda i, time, x: pipe.transformer(x, time))
    torch.testing.assert_close(found, run(oracle))
    assert not torch.allclose(found, run(lambda i, time, x: Field()(x, time)))


def test_diffusion_and_guidance_of_two_branches_are_refused():
    pipe = make_pipeline()
    with (
        fc.attach(pipe, fc.Every(3), fc.MeanVelocity()),
        pytest.raises(AttachError, match="DDIMScheduler is a diffusion scheduler: use"),
    ):
        sample(pipe)
    with pytest.raises(AttachError, match="at a scale of 4, not the one that is forecast"):
        fc.MeanVelocity().for_sampling(Sampling(4.0, 0.0))
    for guidance in (None, 1.0):
        assert fc.MeanVelocity().for_sampling(Sampling(guidance, 0.0)) == fc.MeanVelocity()


def test_an_output_that_is_no_velocity_of_the_latent_is_refused():
    steps = [step(3, 0.8), step(8, 0.5)]
    history = history_beside(
        steps, [rand(0, 2, 6, 4)] * 2, "latent", [rand(i, 2, 3, 4) for i in range(3)]
    )
    with pytest.raises(HistoryError, match=r"\(2, 6, 4\) does not move a latent of shape \(2, 3"):
        fc.MeanVelocity().forecast(history, step(12, 0.3))
