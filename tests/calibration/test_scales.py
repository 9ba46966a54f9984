"""Rows of several guidance scales: each at its own, mixed between, refused beyond."""

from __future__ import annotations

import warnings
from dataclasses import replace

import numpy as np
import pytest
import torch

import forecastcache as fc
from forecastcache.calibration.calibrate import calibrate
from forecastcache.calibration.calibrated import Calibrated
from forecastcache.calibration.calibration import Calibration
from forecastcache.calibration.expected import expected
from forecastcache.calibration.guidance import require_seen, scales_of
from forecastcache.calibration.hub import card
from forecastcache.calibration.io import Header
from forecastcache.calibration.scales import AcrossScales
from forecastcache.calibration.targets import Effort
from forecastcache.errors import CalibrationError, ForecastCacheWarning
from forecastcache.predictor import Sampling
from forecastcache.sampling.request import Request
from forecastcache.step import Step

from ..adapters.pipelines import PIPELINES
from ..conftest import make_pipeline
from .toys import fit_of

COMPUTED = (0, 2, 4)
STEPS = 6


def asked(scale: float | None, **fields: object) -> Request:
    return Request(**{"steps": STEPS, "count": 3, "guidance_scale": scale} | fields)


@pytest.fixture(scope="module")
def calibration() -> Calibration:
    """Of guidance 4 and 2, in this order."""
    schedules = [fc.Listed(COMPUTED)]
    return calibrate(make_pipeline(), [asked(4.0), asked(2.0)], None, schedules, refine=False)


def sample(pipe, scale: float, predictor: fc.Predictor) -> torch.Tensor:
    with fc.attach(pipe, fc.Listed(COMPUTED), predictor):
        return asked(scale, seed=9).sample(pipe)


def own(calibration: Calibration, number: int) -> fc.Learned:
    return replace(calibration, sizes=calibration.sizes[number:][:1]).predictor(
        fc.Listed(COMPUTED)
    )


def test_each_scale_has_rows_of_its_own(calibration):
    assert [size.name for size in calibration.sizes] == [
        "the pipeline's own size at guidance 4", "the pipeline's own size at guidance 2",
    ]  # fmt: skip
    assert (calibration.identity.guidance, calibration.identity.scales) == (4.0, (4.0, 2.0))
    assert own(calibration, 0).rows != own(calibration, 1).rows
    assert "and guidance 2, 4 taught" in card(calibration, "me/it")


@pytest.mark.parametrize(("scale", "number"), [(4.0, 0), (2.0, 1)])
def test_a_calibrated_scale_gets_its_own_rows_without_a_word(pipe, calibration, scale, number):
    _, predictor = calibration.choose(3)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        found = sample(pipe, scale, predictor)
    assert torch.equal(found, sample(pipe, scale, own(calibration, number)))
    other = sample(pipe, scale, own(calibration, 1 - number))
    assert not torch.equal(found, other)


@pytest.mark.parametrize("chosen", [True, False], ids=["choose", "predictor"])
def test_a_scale_between_gets_mixed_rows_and_a_line_a_run(pipe, calibration, chosen):
    predictor = calibration.predictor(fc.Listed(COMPUTED))
    if chosen:
        _, predictor = calibration.choose(3)
    with pytest.warns(ForecastCacheWarning, match="guidance 2.5 lies between .* 2 and 4 are") as w:
        found = sample(pipe, 2.5, predictor)
    assert len(w) == 1
    high, low = (own(calibration, number).rows for number in (0, 1))
    mixed = [
        {**a.model_dump(), "weights": 0.75 * np.array(a.weights) + 0.25 * np.array(b.weights)}
        for a, b in zip(low, high)
    ]
    # The scale that is seen is off by what float32 leaves.
    torch.testing.assert_close(found, sample(pipe, 2.5, fc.Learned(mixed)), rtol=0, atol=1e-4)


@pytest.mark.parametrize(("scale", "number"), [(7.0, 0), (1.0, 1)])
def test_a_scale_beyond_is_refused_or_gets_what_was_asked(pipe, calibration, scale, number):
    message = rf"guidance 2 to 4, but the pipeline combines its branches at {scale:g}: ask"
    with pytest.raises(CalibrationError, match=message):
        sample(pipe, scale, calibration.choose(3)[1])
    with pytest.warns(ForecastCacheWarning, match=message) as heard:
        found = sample(pipe, scale, calibration.choose(3, on_mismatch="warn")[1])
    assert len(heard) == 1
    assert torch.equal(found, sample(pipe, scale, own(calibration, number)))
    with pytest.warns(ForecastCacheWarning, match="Taylor.order=1. forecasts in their place"):
        found = sample(pipe, scale, calibration.choose(3, on_mismatch="taylor")[1])
    assert torch.equal(found, sample(pipe, scale, fc.Taylor(order=1)))


def test_a_scale_that_cannot_be_told_is_refused(calibration):
    _, predictor = calibration.choose(3)
    with pytest.raises(CalibrationError, match="guidance 2, 4, but at which .* cannot be told"):
        predictor.for_sampling(Sampling(None, 0.0))


def test_where_nothing_tells_the_scale_the_first_serves_and_a_line_says_so(calibration):
    predictor = calibration.predictor(fc.Listed(COMPUTED))
    steps = [Step(index, time) for index, time in enumerate(calibration.recording.times)]
    past = [steps[index] for index in COMPUTED]
    with pytest.warns(ForecastCacheWarning, match="nothing tells the guidance .* rows of 4 are"):
        row = predictor.weights(past, steps[5])
    np.testing.assert_array_equal(row, own(calibration, 0).weights(past, steps[5]))


def test_it_is_saved_and_loaded_and_survives_json(calibration, tmp_path):
    calibration.save(tmp_path / "two.cal")
    again = Calibration.load(tmp_path / "two.cal")
    assert again.identity == calibration.identity
    assert [size.guidance for size in again.sizes] == [4.0, 2.0]
    _, predictor = again.choose(3)
    assert isinstance(predictor.learned, AcrossScales)
    assert Calibrated.model_validate_json(predictor.model_dump_json()) == predictor


def test_schedules_that_all_scales_have_are_offered(calibration):
    better = fit_of((0, 3), calibration.fits[0].rows, 99.0)
    assert calibration.with_fits([better]).fits == calibration.fits
    assert calibration.explanations(3)


@pytest.mark.parametrize(
    ("told", "held", "complaint"),
    [
        ((4.0, 3.0), (4.0, 2.0), "not that of the identity"),
        ((), (4.0, None), "not that of the identity"),
        ((1.0, 0.5), (1.0, 0.5), "two are of the same guidance"),
    ],
)
def test_a_header_whose_scales_cannot_be_is_none(calibration, told, held, complaint):
    identity = calibration.identity.model_copy(update={"scales": told})
    sizes = [replace(size, guidance=scale) for size, scale in zip(calibration.sizes, held)]
    with pytest.raises(ValueError, match=complaint):
        Header.of(identity, calibration.versions, sizes)


def test_what_is_asked_is_compared_with_the_range(calibration):
    identity = calibration.identity
    for scale in (2.0, 3.3, 4.0, None):
        identity.require(identity.model_copy(update={"guidance": scale}))
    with pytest.raises(CalibrationError, match="guidance 2 to 4, but 7.0 is asked for: ask for 2"):
        identity.require(identity.model_copy(update={"guidance": 7.0}))


@pytest.mark.parametrize(
    ("requests", "complaint"),
    [
        ([asked(2.0), asked(None)], "of guidance 2, others of the pipeline's own: give every"),
        ([asked(2.0), asked(4.0), asked(2.0)], "several requests are of guidance 2 "),
        ([asked(0.0), asked(1.0)], "several requests are of guidance 0 .up to 1 there is none"),
    ],
)
def test_requests_that_cannot_be_mixed_are_refused(pipe, requests, complaint):
    with pytest.raises(CalibrationError, match=complaint):
        scales_of(pipe, requests)


def test_sizes_and_scales_at_once_are_refused():
    requests = [asked(scale, prompts=["a"], call={"height": 16 * scale}) for scale in (2, 4)]
    with pytest.raises(CalibrationError, match="guidance and in height: .* at several sizes, not"):
        scales_of(PIPELINES["qwen_image"]().pipe, requests)


def test_guidance_that_the_model_is_told_is_refused_before_a_run():
    pipe = PIPELINES["flux"]().pipe
    told = [asked(scale, prompts=["a"]) for scale in (4.0, 2.0)]
    with pytest.raises(CalibrationError, match="guidance 2, 4 .* is told it itself: it is not"):
        calibrate(pipe, told, None, [])
    with pytest.raises(CalibrationError, match="guidance 2, 4 .* is told it itself: it is not"):
        expected(pipe, told, Effort.within([3, 3], STEPS, []), micro_batch=8, elements=9)
    true = [asked(2.0, prompts=["a"], call={"true_cfg_scale": scale}) for scale in (2.0, 3.0)]
    with pytest.raises(CalibrationError, match="differ in true_cfg_scale, by which"):
        calibrate(pipe, true, None, [])


def test_guidance_that_changes_nothing_is_refused(pipe, calibration):
    gram = calibration.recording.gram
    whole = replace(calibration.recording, branches=gram[None])
    with pytest.raises(CalibrationError, match="guidance 2 is asked for, but DiTPipeline hands"):
        require_seen(pipe, [whole, whole], (1.0, 2.0))
    require_seen(pipe, [calibration.recording], (2.0,))
