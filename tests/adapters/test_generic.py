from __future__ import annotations

from typing import Any

import diffusers
import pytest
import torch
from diffusers import DDIMPipeline
from torch import nn

import forecastcache as fc

from ..conftest import make_unconditional
from .pipelines import awake, quiet, rand, run, without


@pytest.fixture
def unconditional() -> DDIMPipeline:
    return make_unconditional()


def sample(pipe: DDIMPipeline) -> torch.Tensor:
    generator = torch.Generator().manual_seed(0)
    images = pipe(1, generator, num_inference_steps=10, output_type="np").images
    return torch.from_numpy(images)


def test_a_pipeline_that_no_adapter_names(unconditional):
    plain = sample(unconditional)
    with fc.attach(unconditional, fc.Every(1), fc.Taylor()):
        assert torch.equal(sample(unconditional), plain)
    with fc.attach(unconditional, fc.Every(3, first=2), fc.Taylor()) as session:
        assert not torch.equal(sample(unconditional), plain)
    report = session.report()
    assert report.computed == (0, 1, 4, 7)
    assert report.cache_bytes == report.cache_bytes_planned == 2 * 3 * 16 * 16 * 4


class TwoOutputs(nn.Module):
    """Returns a nest of tensors and other things, and is told the time under another name."""

    def forward(self, x, timesteps):
        return {"noise": x * timesteps, "parts": (x + timesteps, None, "note", torch.tensor(3))}


def test_any_nest_of_tensors_is_forecast():
    model, x = TwoOutputs(), torch.randn(4)
    with fc.attach(model, fc.Listed([0, 1]), fc.Taylor()) as session:
        for time in (4.0, 3.0):
            model(x, torch.tensor(time))
        got = model(x, torch.tensor(2.0))
    expected = model(x, torch.tensor(2.0))
    torch.testing.assert_close(got["noise"], expected["noise"])
    torch.testing.assert_close(got["parts"][0], expected["parts"][0])
    assert got["parts"][1:3] == (None, "note")
    assert session.report().cache_bytes == 2 * 2 * 16


@pytest.fixture(scope="module")
def z_image() -> Any:
    """A pipeline whose model takes and gives lists of tensors, and calls its time `t`."""
    torch.manual_seed(0)
    model = diffusers.ZImageTransformer2DModel(
        all_patch_size=(2,), all_f_patch_size=(1,), in_channels=4, dim=24, n_layers=1,
        n_refiner_layers=1, n_heads=2, n_kv_heads=2, cap_feat_dim=12, axes_dims=[4, 4, 4],
        axes_lens=[64, 32, 32],
    )  # fmt: skip
    scheduler = diffusers.FlowMatchEulerDiscreteScheduler(shift=3.0)
    components = without("vae", "text_encoder", "tokenizer")
    return quiet(
        diffusers.ZImagePipeline(scheduler=scheduler, transformer=awake(model), **components)
    )


@pytest.mark.parametrize(
    ("guidance", "computed"),
    [
        ({"guidance_scale": 0.0}, (0, 1, 4, 7)),
        ({"guidance_scale": 4.0}, (0, 1, 4, 7)),
        # Guidance ends before step 6, and with it one half of the batch.
        ({"guidance_scale": 4.0, "cfg_truncation": 0.3}, (0, 1, 4, 6, 7)),
    ],
    ids=["alone", "in a batch", "cut off"],
)
def test_a_model_that_takes_lists_of_tensors(z_image, guidance, computed):
    texts = [rand(5, 12), rand(3, 12)]
    request = guidance | {
        "prompt_embeds": texts, "negative_prompt_embeds": [-text for text in texts],
        "height": 32, "width": 48, "num_inference_steps": 9,
    }  # fmt: skip
    plain = run(z_image, request)
    with fc.attach(z_image, fc.Every(1), fc.Taylor()):
        assert torch.equal(run(z_image, request), plain)
    with fc.attach(z_image, fc.Every(3, first=2), fc.Taylor()) as session:
        assert not torch.equal(run(z_image, request), plain)
        report = session.report()
    assert report.computed == computed
    assert {call.branch for call in report.calls} == {0}
    assert report.cache_bytes == report.cache_bytes_planned > 0
