"""Schedules that others published: whole, with their source, and for one number of steps."""

from __future__ import annotations

import pytest
import torch
from diffusers import FluxTransformer2DModel

import forecastcache as fc
from forecastcache.errors import ForecastCacheWarning, OptionError, ScheduleError
from forecastcache.presets import Preset, published
from forecastcache.spec import as_text, parse_schedule


@pytest.mark.parametrize("entry", published(), ids=lambda it: f"{it.name}-{it.by}")
def test_each_is_a_schedule_with_its_source(entry):
    preset = Preset(entry.name, entry.by)
    steps = fc.Listed(entry.computed)  # refuses steps that do not rise from 0
    assert preset.computed(entry.steps) == steps.computed(entry.steps)
    assert preset.warm_up == steps.warm_up
    assert entry.computed[-1] < entry.steps
    assert entry.source.startswith("https://github.com/")
    assert entry.measured == "not measured by us"


def test_one_name_by_one_method_is_one_schedule():
    named = [(it.name, it.by) for it in published()]
    assert len(named) == len(set(named))


def test_a_spec_names_it():
    preset = parse_schedule("preset:flux.1-dev:9")
    assert preset == Preset("flux.1-dev:9")
    assert parse_schedule(as_text(preset)) == preset
    other = parse_schedule("preset:flux.1-dev:9,by=meancache")
    # MeanCache's of 9 of 50 on FLUX.1-dev: cached where the published string has a 1.
    string = "00000111101111111110111111111111110111111111111110"
    assert other.computed(50) == tuple(i for i, cached in enumerate(string) if cached == "0")
    assert other != preset


def test_other_numbers_of_steps_are_refused():
    with pytest.raises(ScheduleError, match=r"published for 50 steps, .* has 28: .* Warped\(9\)"):
        parse_schedule("preset:flux.1-dev:9").check(28)
    with pytest.raises(ScheduleError, match="published for 50 steps"):
        Preset("flux.1-dev:9").computed(49)


@pytest.mark.parametrize(
    ("spec", "complaint"),
    [
        ("preset:flux.1-dev:8", "published as 'flux.1-dev:8': write one of flux.1-dev:9, "),
        ("preset:qwen-image:10,by=dpcache", "not by 'dpcache': write by= one of meancache"),
    ],
)
def test_what_is_not_there_is_refused_with_what_is(spec, complaint):
    with pytest.raises(OptionError, match=complaint) as error:
        parse_schedule(spec)
    assert "\n" not in str(error.value)


PUBLISHED_FLUX = {
    "guidance_embeds": True, "attention_head_dim": 128, "in_channels": 64,
    "joint_attention_dim": 4096, "num_attention_heads": 24, "num_layers": 19,
    "num_single_layers": 38, "patch_size": 1, "pooled_projection_dim": 768,
}  # fmt: skip


def flux(**changes) -> FluxTransformer2DModel:
    with torch.device("meta"):
        return FluxTransformer2DModel(**PUBLISHED_FLUX | changes)


def test_another_model_is_warned_of_and_its_own_is_not(pipe):
    preset = Preset("flux.1-dev:9")
    preset.check_model(flux())  # a warning is an error here
    with pytest.warns(ForecastCacheWarning, match=r"has guidance_embeds=False \(there it is True"):
        preset.check_model(flux(guidance_embeds=False))  # FLUX.1-schnell
    with pytest.warns(ForecastCacheWarning, match="the class DiT.*; take Warped.9.") as heard:
        fc.attach(pipe, preset, "reuse").detach()
    assert len(heard) == 1
    assert "\n" not in str(heard[0].message)
