"""Two models that take turns along one trajectory, as Wan 2.2's high-noise and low-noise ones."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import nullcontext
from typing import Any

import diffusers
import pytest
import torch
from torch import nn

import forecastcache as fc

from .pipelines import PIPELINES, Case, awake, picture, quiet, run, unipc, without
from .tiny.video import wan_model

SWITCH = 5  # first step of the second model, of 8
CALLS = [(step, branch) for step in range(8) for branch in range(2)]


class Both(nn.Module):
    """Two models as one, which tells by the time which of them answers."""

    def __init__(self, pipe: Any) -> None:
        super().__init__()
        self.first, self.second = pipe.transformer, pipe.transformer_2
        self.boundary = 1000 * pipe.config.boundary_ratio
        self.config = self.first.config
        self.dtype, self.device = self.first.dtype, self.first.device

    def forward(
        self, hidden_states, timestep, encoder_hidden_states,
        attention_kwargs=None, return_dict=True,
    ):  # fmt: skip
        model = self.first if timestep.flatten()[0] >= self.boundary else self.second
        return model(
            hidden_states, timestep, encoder_hidden_states, attention_kwargs=attention_kwargs,
            return_dict=return_dict,
        )  # fmt: skip

    def cache_context(self, *_: object, **__: object) -> Any:
        return nullcontext()


def as_one(pipe: Any) -> Any:
    """The pipeline of a single model that answers as these two do."""
    return quiet(
        diffusers.WanPipeline(
            scheduler=unipc(),
            transformer=Both(pipe),
            **without("vae", "text_encoder", "tokenizer"),
        )
    )


def computed_of(session: fc.Session) -> list[int]:
    return sorted({call.step.index for call in session.calls if call.was_computed})


@pytest.mark.parametrize("predictor", [fc.Taylor(order=1), fc.VariableOrder()])
def test_outputs_of_the_first_forecast_those_of_the_second(predictor):
    case, schedule = PIPELINES["wan_of_two"](), fc.Listed([0, 2, 4, 7])
    with fc.attach(case.pipe, schedule, predictor) as session:
        forecast = run(case.pipe, case.request)
        report = session.report()
    assert [(call.step.index, call.branch) for call in report.calls] == CALLS
    assert report.computed == schedule.steps
    assert report.cache_bytes == report.cache_bytes_planned > 0
    one = as_one(case.pipe)
    with fc.attach(one, schedule, predictor):
        assert torch.equal(run(one, case.request), forecast)


class Inside(fc.Schedule):
    """Computes two steps, having looked into the model."""

    @property
    def needs(self):
        return frozenset({"first_block"})

    def compute(self, step, state):
        state.first_block_residual()
        return step.index in (0, 2)


def test_a_schedule_that_looks_inside_begins_anew():
    case = PIPELINES["wan_of_two"]()
    with fc.attach(case.pipe, Inside(), fc.Reuse()) as session:
        run(case.pipe, case.request)
    assert computed_of(session) == [0, 2, SWITCH]


HEARD: list[object] = []


class Asking(fc.Reuse):
    """Reuse that asks how the pipeline samples."""

    @property
    def needs(self):
        return frozenset({"sampling"})

    def for_sampling(self, sampling):
        HEARD.append(sampling)
        return self


@pytest.mark.parametrize("steps", [[0], [0, 1, 2, 3, 4], [0, 5]])
@pytest.mark.parametrize("scales", [(4.0, 2.0), (4.0, None), (1.0, 3.0)])
def test_the_guidance_of_both_is_seen(scales, steps):
    case = PIPELINES["wan_of_two"]()
    HEARD.clear()
    first, second = scales
    with fc.attach(case.pipe, fc.Listed(steps), Asking()):
        run(case.pipe, case.request, guidance_scale=first, guidance_scale_2=second)
    expected = [first, (second or first) if first > 1 else 1.0]  # the first switches it off
    assert [seen.guidance for seen in HEARD] == pytest.approx(expected, rel=1e-3)
    assert [seen.expert for seen in HEARD] == [0, 1]
    assert "step" not in vars(case.pipe.scheduler)


def wan_vae() -> nn.Module:
    torch.manual_seed(0)
    return diffusers.AutoencoderKLWan(
        base_dim=4, z_dim=4, dim_mult=[1, 1, 1, 1], num_res_blocks=1,
        latents_mean=[0.1] * 4, latents_std=[1.5] * 4,
    ).eval()  # fmt: skip


def of_two(kind: str, make: Callable[[], nn.Module], **request: Any) -> Case:
    torch.manual_seed(0)
    pipe = getattr(diffusers, kind)(
        scheduler=unipc(),
        transformer=awake(make()),
        transformer_2=awake(make()),
        vae=wan_vae(),
        boundary_ratio=0.7,
        **without("text_encoder", "tokenizer"),
    )
    usual = PIPELINES["wan"]().request | {"num_frames": 9, "guidance_scale_2": 2.0}
    return Case(quiet(pipe), usual | request, steps=8, branches=2)


def wan_with_channels(count: int) -> nn.Module:
    return diffusers.WanTransformer3DModel(**dict(wan_model().config) | {"in_channels": count})


def vace_model() -> nn.Module:
    return diffusers.WanVACETransformer3DModel(
        patch_size=(1, 2, 2), num_attention_heads=2, attention_head_dim=12, in_channels=4,
        out_channels=4, text_dim=12, freq_dim=16, ffn_dim=24, num_layers=2, rope_max_seq_len=32,
        vace_layers=[0], vace_in_channels=8 + 64,
    )  # fmt: skip


def text_to_video_with_token_times() -> Case:
    case = PIPELINES["wan_of_two"]()
    case.pipe.register_to_config(expand_timesteps=True)
    return case


OF_TWO: dict[str, Callable[[], Case]] = {
    "image to video": lambda: of_two(
        "WanImageToVideoPipeline", lambda: wan_with_channels(4 + 4 + 4), image=picture()
    ),
    "VACE": lambda: of_two("WanVACEPipeline", vace_model, video=[picture()] * 9),
    "Lucy Edit": lambda: of_two(
        "LucyEditPipeline", lambda: wan_with_channels(4 + 4), video=[picture()] * 9
    ),
    "times of tokens": text_to_video_with_token_times,
}


@pytest.mark.parametrize("name", OF_TWO)
def test_other_pipelines_of_two(name):
    case = OF_TWO[name]()
    plain = run(case.pipe, case.request)
    with fc.attach(case.pipe, fc.Every(1), fc.Reuse()):
        assert torch.equal(run(case.pipe, case.request), plain)
    schedule = fc.Listed([0, 2, 4, 7])
    with fc.attach(case.pipe, schedule, fc.Taylor(order=1)) as session:
        forecast = run(case.pipe, case.request)
    assert [(call.step.index, call.branch) for call in session.calls] == CALLS
    assert computed_of(session) == [*schedule.steps]
    assert forecast.isfinite().all()
    assert not torch.equal(forecast, plain)
