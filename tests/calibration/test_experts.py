"""Two models that take turns are calibrated and accelerated as one trajectory."""

from __future__ import annotations

import pytest
import torch

import forecastcache as fc
from forecastcache.calibration.identity import Identity
from forecastcache.errors import CalibrationError, ForecastCacheWarning
from forecastcache.sampling.request import Request

from ..adapters.pipelines import PIPELINES, WAN_REQUEST
from ..adapters.test_experts import SWITCH, as_one

SCHEDULE = fc.Listed([0, 3, 6])  # the second model's first step is forecast from the first's
SCALE = WAN_REQUEST["guidance_scale"]


def said(prompt, **_):
    """What stands for a text encoder: (prompt, negative prompt), `(n, 5, 12)` each."""
    seeds = [torch.Generator().manual_seed(sum(map(ord, text))) for text in prompt]
    words = torch.stack([torch.randn(5, 12, generator=seed) for seed in seeds])
    return words, torch.zeros_like(words)


def make_pipe():
    pipe = PIPELINES["wan_of_two"]().pipe
    pipe.encode_prompt = said
    return pipe


def request(second: float | None = None, scale: float = SCALE, prompts=("one", "two")) -> Request:
    size = {name: WAN_REQUEST[name] for name in ("height", "width")}
    further = {} if second is None else {"guidance_scale_2": second}
    call = {**size, "num_frames": 1, **further}
    return Request(steps=8, prompts=prompts, guidance_scale=scale, call=call)


@pytest.fixture(scope="module")
def pipe():
    return make_pipe()


@pytest.fixture(scope="module")
def calibration(pipe):
    return fc.calibrate(pipe, request(), schedules=[SCHEDULE], micro_batch=1)


def test_rows_are_those_of_one_network_that_answers_as_both(pipe, calibration):
    one = as_one(pipe)
    one.encode_prompt = said
    alone = fc.calibrate(one, request(), schedules=[SCHEDULE], micro_batch=1)
    assert calibration.fits == alone.fits
    row = next(row for row in calibration.fits[0].rows if row.target == SWITCH)
    assert row.computed == (0, 3)
    assert calibration.identity.boundary == 0.7
    assert alone.identity.boundary is None


def call(pipe, **changes) -> torch.Tensor:
    asked = {"prompt": ["three"], "num_inference_steps": 8, "guidance_scale": SCALE}
    asked |= {**request().call, "output_type": "latent"}
    return pipe(**asked | changes, generator=torch.Generator().manual_seed(7)).frames


def test_a_run_of_its_rows_is_reported_as_one(pipe, calibration):
    with fc.attach(pipe, calibration=calibration, computed=3) as session:
        call(pipe)
    assert session.report().computed == SCHEDULE.steps
    assert session.report().steps == 8


def test_the_guidance_of_the_second_is_compared(pipe, calibration):
    with (
        fc.attach(pipe, *calibration.choose(3)),
        pytest.raises(CalibrationError, match=r"guidance 4, .* at 2 where its second model"),
    ):
        call(pipe, guidance_scale_2=2.0)
    with (
        fc.attach(pipe, *calibration.choose(3, on_mismatch="taylor")),
        pytest.warns(ForecastCacheWarning, match=r"Taylor\(order=1\) forecasts in their place"),
    ):
        call(pipe, guidance_scale_2=2.0)


def test_a_scale_of_its_own_is_served(pipe):
    made = fc.calibrate(pipe, request(second=2.0), schedules=[SCHEDULE], refine=False)
    assert made.identity.guidance_2 == 2.0
    with fc.attach(pipe, *made.choose(3)):
        call(pipe, guidance_scale_2=2.0)
    with fc.attach(pipe, *made.choose(3)), pytest.raises(CalibrationError, match="at 4 where"):
        call(pipe)


def test_requests_that_differ_in_the_scales_of_two_are_refused(pipe):
    with pytest.raises(CalibrationError, match="two models with a scale each"):
        fc.calibrate(pipe, [request(), request(scale=2.0)], schedules=[SCHEDULE])
    with pytest.raises(CalibrationError, match="differ in guidance_scale_2"):
        fc.calibrate(pipe, [request(), request(second=2.0)], schedules=[SCHEDULE])


def test_both_networks_and_where_they_take_turns_are_its_identity(pipe):
    mine, other = Identity.of(pipe, 8, SCALE), make_pipe()
    mine.require(Identity.of(other, 8, SCALE, guidance_2=SCALE))
    with pytest.raises(CalibrationError, match="guidance_scale_2 as guidance_scale, but .*=2 is"):
        mine.require(Identity.of(other, 8, SCALE, guidance_2=2.0))
    with torch.no_grad():
        other.transformer_2.proj_out.weight.mul_(1.5)
    with pytest.warns(ForecastCacheWarning, match="other weights"):
        mine.require(Identity.of(other, 8, SCALE))
    other.register_to_config(boundary_ratio=0.5)
    turns = "two models that take turns at 0.7, but this pipeline has two .* at 0.5"
    with pytest.raises(CalibrationError, match=turns):
        mine.require(Identity.of(other, 8, SCALE))
    with pytest.raises(CalibrationError, match="take turns at 0.7, but this pipeline has one"):
        mine.require(Identity.of(as_one(pipe), 8, SCALE))


def test_rows_are_refused_where_the_second_takes_over_elsewhere(calibration):
    other = make_pipe()
    other.register_to_config(boundary_ratio=0.5)
    with (
        fc.attach(other, *calibration.choose(3)),
        pytest.raises(CalibrationError, match="take turns at 0.7"),
    ):
        call(other)


def test_accelerated_it_learns_across_the_switch(tmp_path):
    pipe = make_pipe()
    plain = call(pipe)
    fast = fc.accelerate(pipe, computed=3, pictures=2, folder=tmp_path, progress=False)
    assert torch.equal(call(fast), plain)
    call(fast, prompt=["two"])
    call(fast)
    summary = fast.summary()
    assert (summary.state, len(summary.computed), summary.steps) == ("learned", 3, 8)
    with pytest.warns(ForecastCacheWarning, match="another guidance_scale_2 than what was"):
        call(fast, guidance_scale_2=2.0)
    assert fast.summary().state == "1 of 2 pictures recorded"
    pipe.register_to_config(boundary_ratio=0.5)
    with pytest.warns(ForecastCacheWarning, match="another boundary_ratio than what was"):
        call(fast)
