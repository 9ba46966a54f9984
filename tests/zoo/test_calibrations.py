"""The calibration beside each model: of that model, small, and worth its bytes."""

from __future__ import annotations

import pytest
import torch

import forecastcache as fc
from forecastcache import zoo
from forecastcache.calibration.identity import Identity
from forecastcache.sampling.loading import load
from forecastcache.sampling.request import Request
from forecastcache.sampling.trajectory import trajectory_of

MADE = [name for name in zoo.MODELS if zoo.made(name)]
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
    assert calibration.recording.prompts == 50

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
