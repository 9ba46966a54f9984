from __future__ import annotations

import pytest
import torch
from diffusers import DDIMPipeline
from torch import nn

import forecastcache as fc

from ..conftest import make_unconditional


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
