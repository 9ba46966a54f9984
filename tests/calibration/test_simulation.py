"""The closed loop foretold: exact where the network answers as the simulation has it."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from diffusers import DDIMScheduler
from torch import Tensor

import forecastcache as fc
from forecastcache.calibration.fit import SizeFitter
from forecastcache.calibration.gram import open_loop_rows
from forecastcache.calibration.output_cache import OutputCache
from forecastcache.calibration.recording import record
from forecastcache.calibration.sampler import LAGS, Motion
from forecastcache.calibration.simulation import Response, noise_levels, simulate

from .toys import STEPS, Toy, curved, rolls_of, starts

COMPUTED = (0, 3, 6, 9)


def sure_of_its_picture(sample: Tensor, sigma: Tensor) -> Tensor:
    """A network whose idea of the clean picture depends on the noise level alone."""
    there = torch.sin(3 * sigma + torch.arange(sample.shape[1]))
    return (sample - there) / sigma


def test_the_noise_levels_are_the_samplers():
    pipe = Toy(curved)
    recording, _ = record(pipe, lambda: pipe(starts(4)), 4)
    np.testing.assert_allclose(
        noise_levels(recording.motion), pipe.scheduler.sigmas[:-1], atol=1e-4
    )
    ddim = Toy(curved, DDIMScheduler(clip_sample=False))
    recording, _ = record(ddim, lambda: ddim(starts(4)), 4)
    kept = ddim.scheduler.alphas_cumprod[ddim.scheduler.timesteps]
    np.testing.assert_allclose(noise_levels(recording.motion), (1 - kept).sqrt(), atol=1e-3)


@pytest.mark.parametrize("computed", [COMPUTED, (0, 1, 2, 7), (0, 11), (0,)])
def test_it_is_the_closed_loop_where_the_network_answers_so(computed):
    pipe, start = Toy(sure_of_its_picture), starts(8)
    recording, rolls = rolls_of(pipe, start, ridge=1e-9)
    rolled = rolls.fitted(computed)
    foretold = simulate(
        recording.gram / recording.elements, recording.motion, computed, constant(1, 0), 1e-9
    )
    error = (rolled.final - rolls.plain[-1]).square().mean().item()
    assert foretold.error == pytest.approx(error, rel=0.02, abs=1e-9)
    for mine, its in zip(foretold.rows, rolled.rows, strict=True):
        assert (mine.target, mine.computed) == (its.target, its.computed)
        if len(mine.weights) < 3:  # more of these features are all but dependent
            np.testing.assert_allclose(mine.weights, its.weights, rtol=0.02, atol=1e-3)


def constant(rho: float, tau: float, steps: int = STEPS) -> Response:
    return Response(np.full(steps, rho), np.full(steps, tau))


RESPONSES = [constant(*it, steps=3) for it in ((1, 0), (0, 1), (0.8, 0.2), (0.3, 0.7))]


def three_steps(response: Response | None, first: float, between: float, second: float) -> float:
    """The error foretold of three steps, of which the middle one is forecast.

    Args:
        response: response of the network; None for the default.
        first: squared length of the outputs of steps 0 and 2.
        between: squared length of that of step 1.
        second: inner product of those of steps 0 and 1.
    """
    gram = np.array([[first, second, 0], [second, between, 0], [0, 0, first]])
    keep, move = np.zeros((2, 3, LAGS))
    keep[:, 0], move[:, 0] = 1.0, [-0.5, -0.3, -0.2]
    motion = Motion(keep, move, missed=0.0)
    given = {} if response is None else {"response": response}
    return simulate(gram, motion, (0, 2), ridge=1e-15, **given).error


@pytest.mark.parametrize("response", RESPONSES)
def test_three_steps_have_a_closed_form(response):
    """Levels are 1, 0.5 and 0.2: what step 1 misses by, d, step 2 answers by rho d / 0.2."""
    first, between, second = 2.0, 1.5, 0.9
    missed = 0.3**2 * (between - second**2 / first)
    rho, tau = response.rho[2], response.tau[2]
    carried = (1 - 0.2 * rho / 0.2) ** 2 + (0.2 * tau / 0.2) ** 2
    assert three_steps(response, first, between, second) == pytest.approx(missed * carried)


def test_the_default_response_is_the_documented_one():
    assert three_steps(None, 2, 1.5, 0.9) == three_steps(constant(0.8, 0.2, 3), 2, 1.5, 0.9)


def test_all_computed_it_foretells_no_error():
    pipe, start = Toy(curved), starts(3)
    recording, _ = record(pipe, lambda: pipe(start), 3)
    foretold = simulate(recording.gram, recording.motion, range(STEPS))
    assert foretold.rows == ()
    assert foretold.error == 0


def test_what_cannot_be_foreseen_adds_to_the_error():
    pipe, start = Toy(curved), starts(12)
    recording, _ = record(pipe, lambda: pipe(start), 12)
    errors = [
        simulate(recording.gram, recording.motion, COMPUTED, constant(0.8, tau)).error
        for tau in (0.0, 0.3, 1.0)
    ]
    assert errors[0] < errors[1] < errors[2]


def test_its_rows_serve_other_prompts_better_than_open_loop():
    pipe, late = Toy(curved), (0, 4, 8, 11)
    recording, _ = record(pipe, lambda: pipe(starts(40)), 40)
    others = starts(40, seed=1)
    aim = pipe(others).images

    def error(predictor: fc.Predictor) -> float:
        with fc.attach(pipe, fc.Listed(late), predictor):
            return (pipe(others).images - aim).square().mean().item()

    foretold = simulate(recording.gram / recording.elements, recording.motion, late)
    assert error(fc.Learned(foretold.rows)) < error(
        fc.Learned(open_loop_rows(recording.gram, late))
    )
    assert error(fc.Learned(foretold.rows)) < error(fc.Taylor(order=1))


def test_the_response_is_measured_where_it_was_rolled():
    """This network takes the whole displacement for noise, and answers by nothing else."""
    pipe, start = Toy(sure_of_its_picture), starts(8)
    recording, rolls = rolls_of(pipe, start)
    fitter = SizeFitter(rolls, recording, torch.arange(8), OutputCache())
    fits = [fitter.fit(computed, False, lambda *_: None) for computed in (COMPUTED, (0, 5, 10))]
    assert len(fits[0].response) == len(COMPUTED)
    assert fits[0].response[0] == pytest.approx((0, 0, 0), abs=1e-9)  # nothing is displaced yet
    measured = Response.measured(fits, recording.motion)
    np.testing.assert_allclose(measured.rho, 1, atol=1e-2)
    np.testing.assert_allclose(measured.tau, 0, atol=2e-2)
    assert Response.measured([], recording.motion) is None
