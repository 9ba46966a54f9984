"""The calibration beside each model: of that model, small, and worth its bytes."""

from __future__ import annotations

from dataclasses import replace

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


@pytest.mark.parametrize("name", MADE)
def test_nine_computed_steps_end_nearer_than_as_published(name):
    path = zoo.calibration(name)
    assert path.stat().st_size < 200_000
    calibration = fc.Calibration.load(zoo.PREFIX + name)
    pipe, count = load(zoo.PREFIX + name), 8
    pipe.set_progress_bar_config(disable=True)
    request = Request.of(zoo.PREFIX + name, count=count, seed=7)
    calibration.identity.require(Identity.of(pipe, 50, request.guidance(pipe)))
    assert calibration.recording.prompts == 8

    def final() -> torch.Tensor:
        with trajectory_of(pipe, count) as track:
            request.run(pipe)
        return track.samples[-1]

    aim = final()

    def psnr(schedule: fc.Schedule, predictor: fc.Predictor, site: str) -> float:
        with fc.attach(pipe, schedule, predictor, site=site):
            errors = (final() - aim).square().flatten(1).mean(1)
        return float((10 * (4 / errors).log10()).mean())

    published = psnr(PUBLISHED, fc.Taylor(order=1), "module")
    assert psnr(*calibration.choose(9), "output") > published + 5
    assert psnr(*calibration.choose(5), "output") > published - 1


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

    def final() -> torch.Tensor:
        with trajectory_of(pipe, 16) as track:
            request.run(pipe)
        return track.samples[-1]

    aim, schedule = final(), fc.Listed(offer.computed)
    with fc.attach(pipe, schedule, calibration.predictor(schedule, "simulated")):
        errors = (final() - aim).square().flatten(1).mean(1)
    low, high = offer.band_db
    assert low <= float((10 * (4 / errors).log10()).mean()) <= high
