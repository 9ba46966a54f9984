"""Rows of a calibration are held to what they were fitted on."""

from __future__ import annotations

import diffusers
import pytest
import torch

import forecastcache as fc
from forecastcache.calibration.calibrated import Calibrated
from forecastcache.calibration.identity import Identity
from forecastcache.errors import CalibrationError, ForecastCacheWarning
from forecastcache.predictor import Sampling
from forecastcache.predictors.row import Row

from ..conftest import make_pipeline

STEPS = 6


def calibrated(pipe, guidance: float = 4.0, **options: object) -> Calibrated:
    """Rows of reuse at every step but the first, of this pipeline."""
    rows = [Row(target=i, computed=(0,), weights=(1.0,)) for i in range(1, STEPS)]
    identity = Identity.of(pipe, STEPS, guidance)
    return Calibrated(learned=fc.Learned(rows), identity=identity, guidance=guidance, **options)


def sample(pipe, predictor: fc.Predictor, **changes: object) -> torch.Tensor:
    request = {"num_inference_steps": STEPS, "guidance_scale": 4.0, "output_type": "np"}
    generator = torch.Generator().manual_seed(0)
    torch.manual_seed(0)  # DDPM's noise, for which this pipeline has no generator
    with fc.attach(pipe, fc.Listed([0]), predictor):
        return torch.from_numpy(pipe([1], generator=generator, **(request | changes)).images)


def another_scheduler(pipe) -> None:
    pipe.scheduler = diffusers.DDPMScheduler.from_config(pipe.scheduler.config)


def another_configuration(pipe) -> None:
    pipe.scheduler = diffusers.DDIMScheduler.from_config(
        pipe.scheduler.config, clip_sample=not pipe.scheduler.config.clip_sample
    )


def another_model(pipe) -> None:
    pipe.transformer = make_pipeline(sample_size=16).transformer


MISMATCHES = {
    "scheduler": (another_scheduler, {}, "is of the scheduler DDIMScheduler, but this is DDPM"),
    "configuration": (another_configuration, {}, "DDIMScheduler of another configuration"),
    "model": (another_model, {}, "DiTTransformer2DModel of another configuration"),
    "guidance": (lambda pipe: None, {"guidance_scale": 7.0}, "guidance 4, but .* at 7: ask"),
    "no guidance": (lambda pipe: None, {"guidance_scale": 1.0}, "guidance 4, but .* at 1: ask"),
}


def test_what_it_was_fitted_on_goes_through(pipe):
    plain = sample(pipe, fc.Reuse())
    assert torch.equal(sample(pipe, calibrated(pipe)), plain)


@pytest.mark.parametrize("what", MISMATCHES)
def test_another_pipeline_is_refused_by_name(pipe, what):
    change, request, message = MISMATCHES[what]
    predictor = calibrated(pipe)
    change(pipe)
    with pytest.raises(CalibrationError, match=message):
        sample(pipe, predictor, **request)


@pytest.mark.parametrize("what", MISMATCHES)
def test_it_warns_once_a_run_or_gives_way_to_taylor(pipe, what):
    change, request, message = MISMATCHES[what]
    warned = calibrated(pipe, on_mismatch="warn")
    replaced = calibrated(pipe, on_mismatch="taylor")
    change(pipe)
    plain = sample(pipe, fc.Reuse(), **request)
    with pytest.warns(ForecastCacheWarning, match=message) as heard:
        assert torch.equal(sample(pipe, warned, **request), plain)
    assert len(heard) == 1
    with pytest.warns(ForecastCacheWarning, match="Taylor.order=0. forecasts in their place"):
        sample(pipe, replaced, **request)


def test_it_survives_json(pipe):
    predictor = calibrated(pipe, on_mismatch="taylor")
    assert Calibrated.model_validate_json(predictor.model_dump_json()) == predictor


def test_another_noise_is_refused_and_its_own_is_served(pipe):
    plain, noisy = (Sampling(guidance=4.0, eta=eta) for eta in (0.0, 0.5))
    with pytest.raises(CalibrationError, match="of eta=0, .* noise at every step by eta=0.5"):
        calibrated(pipe).for_sampling(noisy)
    predictor = calibrated(pipe)
    identity = Identity.of(pipe, STEPS, 4.0, eta=0.5)
    predictor = predictor.model_copy(update={"identity": identity})
    assert predictor.for_sampling(noisy) is predictor
    with pytest.raises(CalibrationError, match="of eta=0.5, .* by eta=0: ask for eta=0.5"):
        predictor.for_sampling(plain)
    pipe.scheduler = diffusers.EulerDiscreteScheduler()  # which takes no eta
    assert Identity.of(pipe, STEPS, 4.0, eta=0.5).eta == 0


@pytest.mark.parametrize("elements", [256, 1024])
def test_another_size_is_told_once_a_run(pipe, elements):
    predictor = calibrated(pipe, elements=(elements, elements))
    seen = 4 * 8 * 8  # of this pipeline
    if elements == seen:
        sample(pipe, predictor)  # where warnings are errors
        return
    with pytest.warns(ForecastCacheWarning, match="256 elements, but .* is of 1,024: ") as heard:
        sample(pipe, predictor)
    assert len(heard) == 1


def test_a_size_between_two_that_were_calibrated_is_not(pipe):
    predictor = calibrated(pipe, elements=(128, 512))
    assert predictor.for_sampling(Sampling(4.0, 0.0, elements=256)) is predictor


def test_guidance_that_cannot_be_seen_is_not_compared(pipe):
    predictor = calibrated(pipe)
    assert predictor.for_sampling(Sampling(guidance=None, eta=0.0)) is predictor


def test_true_guidance_beside_a_told_scale_is_what_rows_are_of(recwarn):
    model = "zoo:flux-digits"
    pipe = fc.load(model)
    pipe.set_progress_bar_config(disable=True)
    true = {"guidance_scale": 1.0, "negative_prompt": "", "true_cfg_scale": 3.0}
    request = fc.Request.of(model, "calibration", count=2, steps=STEPS, call=true)
    found = fc.calibrate(pipe, request, schedules=["0,2,4"])
    assert found.identity.guidance == 3.0
    with fc.attach(pipe, *found.choose(3)):
        request.run(pipe)
    assert not [it for it in recwarn if issubclass(it.category, ForecastCacheWarning)]
    with fc.attach(pipe, *found.choose(3)), pytest.raises(CalibrationError, match="guidance 3"):
        request.run(pipe, true_cfg_scale=2.0)
