"""Two models that take turns are calibrated and accelerated as one trajectory."""

from __future__ import annotations

from contextlib import nullcontext
from dataclasses import replace

import numpy as np
import pytest
import torch
from diffusers.configuration_utils import FrozenDict
from torch import nn

import forecastcache as fc
from forecastcache.calibration.experts import JoinedAs
from forecastcache.calibration.identity import Identity
from forecastcache.calibration.recording import record
from forecastcache.calibration.subset import Subset
from forecastcache.errors import CalibrationError, ForecastCacheWarning
from forecastcache.sampling.request import Request
from forecastcache.sampling.trajectory import trajectory_of

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
    asked, options = request(second=2.0), {"schedules": [SCHEDULE], "refine": False}
    made = fc.calibrate(pipe, asked, **options)
    apart = fc.calibrate(pipe, asked, micro_batch=1, **options)
    assert made.fits[0].rows[-1].weights == pytest.approx(apart.fits[0].rows[-1].weights, 1e-3)
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


def test_a_network_that_answers_beside_the_other_is_refused():
    pipe = make_pipe()
    pipe.unconditional_transformer = pipe.transformer_2
    with pytest.raises(CalibrationError, match="an unconditional_transformer that answers beside"):
        record(pipe, lambda: None, 1)


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


def test_a_forecast_is_its_row_of_branches_joined_as_at_its_own_step(pipe):
    second, step = 2.0, SWITCH
    asked = request(second)
    recording, _ = record(pipe, lambda: asked.run(pipe), len(asked))
    assert recording.shares[0] == pytest.approx([SCALE, 1 - SCALE])
    assert recording.shares[step] == pytest.approx([second, 1 - second])
    models, look = [pipe.transformer, pipe.transformer_2], Subset()
    with trajectory_of(pipe, len(asked), look.of) as run:
        joined = JoinedAs(recording.shares, lambda: run.guided)
        with (
            joined.watching(models, look, lambda: (0, len(run.guided))),
            fc.attach(pipe, fc.Listed([0, 3]), fc.Taylor(order=1)),
        ):
            asked.run(pipe)
    for at in (step, 4):  # of the second model, and of the first
        row = taylor(at)
        forecast = sum(weight * joined.guided(c, at) for weight, c in zip(row, (0, 3)))
        torch.testing.assert_close(forecast.float(), run.guided[at], rtol=1e-4, atol=1e-4)
    wrong = sum(weight * run.guided[c] for weight, c in zip(taylor(step), (0, 3)))
    assert (wrong - run.guided[step]).norm() > 0.1 * run.guided[step].norm()


def taylor(step: int) -> np.ndarray:
    """Row of Taylor 1 over the steps 0 and 3, of 8."""
    return fc.Taylor(order=1).row([fc.Step(0, 0.0, 8), fc.Step(3, 0.0, 8)], fc.Step(step, 0.0, 8))


class Bending(nn.Module):
    """As much of a Wan transformer as its pipeline reads, with a velocity in closed form."""

    def __init__(self, bend: float) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.tensor(bend))
        self.read = torch.randn(12, 96, generator=torch.Generator().manual_seed(0)) / 2
        self.config = FrozenDict(patch_size=(1, 2, 2), in_channels=4)
        self.dtype, self.device = torch.float32, torch.device("cpu")

    def forward(
        self, hidden_states, timestep, encoder_hidden_states,
        attention_kwargs=None, return_dict=True,
    ):  # fmt: skip
        sample, sigma = hidden_states.flatten(1), (timestep / 1000).view(-1, 1)
        told = sample + encoder_hidden_states.mean(1) @ self.read
        velocity = told.tanh() * (1 + sigma) + self.weight * (3 * sigma + sample).sin()
        return (velocity.view_as(hidden_states),)

    def cache_context(self, *_: object, **__: object) -> object:
        return nullcontext()


def test_rows_across_the_switch_end_nearer_than_taylor():
    pipe = make_pipe()
    pipe.transformer, pipe.transformer_2 = Bending(0.5), Bending(0.4)
    steps, schedule = 20, fc.Warped(5)
    asked = replace(request(second=3.0), steps=steps)
    rows = fc.calibrate(pipe, asked, schedules=[schedule], refine=False).choose(5)
    judge = replace(asked, prompts=("three", "four", "five"), seed=100)
    with trajectory_of(pipe, 3) as plain:
        judge.run(pipe)

    def psnr(schedule, predictor) -> float:
        with trajectory_of(pipe, 3) as run, fc.attach(pipe, schedule, predictor):
            judge.run(pipe)
        errors = (run.samples[-1] - plain.samples[-1]).square().flatten(1).mean(1)
        return (10 * (4 / errors).log10()).mean().item()

    # 9 dB were seen; 2 are what such rows are worth having for.
    assert psnr(*rows) > psnr(schedule, fc.Taylor(order=1)) + 2


def test_accelerated_it_learns_across_the_switch(tmp_path):
    pipe = make_pipe()
    plain = call(pipe, guidance_scale_2=3.0)
    fast = fc.accelerate(pipe, computed=3, pictures=2, folder=tmp_path, progress=False)
    assert torch.equal(call(fast, guidance_scale_2=3.0), plain)
    call(fast, guidance_scale_2=3.0, prompt=["two"])
    call(fast, guidance_scale_2=3.0)
    summary = fast.summary()
    assert (summary.state, len(summary.computed), summary.steps) == ("learned", 3, 8)
    with pytest.warns(ForecastCacheWarning, match="another guidance_scale_2 than what was"):
        call(fast, guidance_scale_2=2.0)
    assert fast.summary().state == "1 of 2 pictures recorded"
    pipe.register_to_config(boundary_ratio=0.5)
    with pytest.warns(ForecastCacheWarning, match="another boundary_ratio than what was"):
        call(fast, guidance_scale_2=3.0)
