"""The calibration beside each model: of that model, small, and worth its bytes."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
import torch

import forecastcache as fc
from forecastcache import zoo
from forecastcache.calibration.identity import Identity
from forecastcache.sampling.loading import load
from forecastcache.sampling.request import Request
from forecastcache.sampling.trajectory import trajectory_of

MADE = zoo.calibrated()
PUBLISHED = fc.Every(7, first=3)  # 9 computed of 50
FIVE_DO = ("dit-digits", "flux-digits", "qwen-digits", "hunyuan-digits", "flux-emoji-true")


def final(pipe: Any, request: Request) -> torch.Tensor:
    with trajectory_of(pipe, len(request)) as track:
        request.run(pipe)
    return track.samples[-1]


def mean_psnr(ended: torch.Tensor, aim: torch.Tensor) -> float:
    """Of latents, mean over samples, in dB; data range 2."""
    errors = (ended - aim).square().flatten(1).mean(1)
    return float((10 * (4 / errors).log10()).mean())


@pytest.mark.parametrize(
    "name", [pytest.param(it, marks=[pytest.mark.slow] * ("emoji" in it)) for it in MADE]
)
def test_nine_computed_steps_end_nearer_than_as_published(name):
    path = zoo.calibration(name)
    assert path.stat().st_size < 250_000
    calibration = fc.Calibration.load(zoo.PREFIX + name)
    pipe, count = load(zoo.PREFIX + name), 8
    pipe.set_progress_bar_config(disable=True)
    request = Request.of(zoo.PREFIX + name, count=count, seed=7)
    calibration.identity.require(Identity.of(pipe, 50, request.guidance(pipe)))
    assert calibration.recording.prompts == 8
    aim = final(pipe, request)

    def psnr(schedule: fc.Schedule, predictor: fc.Predictor, site: str) -> float:
        with fc.attach(pipe, schedule, predictor, site=site):
            return mean_psnr(final(pipe, request), aim)

    published = psnr(PUBLISHED, fc.Taylor(order=1), "module")
    assert psnr(*calibration.choose(9), "output") > published + 5
    if name in FIVE_DO:
        assert psnr(*calibration.choose(5), "output") > published - 1


def test_four_of_eight_steps_end_nearer_than_a_line():
    pipe, name = load("zoo:qwen-lightning"), "zoo:qwen-lightning"
    assert zoo.calibrated(8) == ["qwen-lightning"]
    pipe.set_progress_bar_config(disable=True)
    request = Request.of(name, count=16, seed=7)
    aim = final(pipe, request)

    def psnr(schedule: fc.Schedule, predictor: fc.Predictor) -> float:
        with fc.attach(pipe, schedule, predictor):
            return mean_psnr(final(pipe, request), aim)

    chosen, line = fc.Calibration.load(name).choose(4), (fc.Warped(4), fc.Taylor(order=1))
    assert psnr(*chosen) > psnr(*line) + 3


@pytest.mark.parametrize("name", MADE)
def test_more_computed_steps_are_never_offered_for_less(name):
    calibration = fc.Calibration.load(zoo.PREFIX + name)
    rolled = [calibration.offer(count).latent_psnr_db for count in range(4, 50)]
    assert all(fewer <= more for fewer, more in zip(rolled, rolled[1:]))
    assert rolled[-1] == max(fit.latent_psnr_db for fit in calibration.fits)


@pytest.mark.parametrize("count", [6, 12])
def test_what_is_offered_of_a_count_that_was_not_rolled_ends_in_its_band(count):
    """On prompts that nothing was fitted to."""
    name = zoo.PREFIX + "flux-digits"
    whole, pipe = fc.Calibration.load(name), load(name)
    others = [fit for fit in whole.fits if len(fit.computed) != count]
    calibration = replace(whole, sizes=(replace(whole.sizes[0], fits=tuple(others)),))
    pipe.set_progress_bar_config(disable=True)
    request = Request.of(name, count=16, seed=7)
    (offer,) = calibration.frontier([count])
    assert (offer.loop, offer.interpolated) == ("simulated", True)
    aim, schedule = final(pipe, request), fc.Listed(offer.computed)
    with fc.attach(pipe, schedule, calibration.predictor(schedule, "simulated")):
        ended = final(pipe, request)
    low, high = offer.band_db
    assert low <= mean_psnr(ended, aim) <= high
