from __future__ import annotations

import pytest
import torch
from diffusers import DiTTransformer2DModel

import forecastcache as fc
from forecastcache.registry import adapter_for

from ..conftest import make_transformer

CALLS = {
    # what runs of three blocks on a computed step, and on a forecast one
    "output": {"pos_embed": 0, "attn1": 0, "ff": 0, "norm1": 0, "proj_out_2": 0},
    "hidden": {"pos_embed": 1, "attn1": 0, "ff": 0, "norm1": 0, "proj_out_2": 1},
    "block": {"pos_embed": 1, "attn1": 0, "ff": 0, "norm1": 0, "proj_out_2": 1},
    "module": {"pos_embed": 1, "attn1": 0, "ff": 0, "norm1": 3, "proj_out_2": 1},
}


def count_calls(model: torch.nn.Module) -> dict[str, int]:
    counts = dict.fromkeys(CALLS["output"], 0)

    def count(name):
        def hook(*_):
            counts[name] += 1

        return hook

    for path, module in model.named_modules():
        name = path.rpartition(".")[2]
        if name in counts:
            module.register_forward_hook(count(name))
    return counts


def call(model: torch.nn.Module, time: float) -> torch.Tensor:
    generator = torch.Generator().manual_seed(0)
    latents = torch.randn(1, 4, 8, 8, generator=generator)
    with torch.no_grad():
        return model(latents, timestep=torch.tensor([time]), class_labels=torch.tensor([3])).sample


@pytest.mark.parametrize("site", CALLS)
def test_a_forecast_step_runs_what_the_site_says_and_no_more(site):
    model = make_transformer()
    counts = count_calls(model)
    with fc.attach(model, fc.Listed([0]), fc.Reuse(), site=site):
        call(model, 900)
        for name in counts:
            counts[name] = 0
        call(model, 880)
    assert counts == CALLS[site]


@pytest.mark.parametrize("site", ["hidden", "block", "module"])
def test_reusing_the_same_step_gives_the_same_output(site):
    """Inside the model all else runs at the current time: at the same time nothing differs."""
    model = make_transformer()
    with fc.attach(model, fc.Listed([0]), fc.Reuse(), site=site) as session:
        computed = call(model, 900)
        session._runs.newest._clock._last = session._runs.newest._clock._last._replace(
            step=session._runs.newest._clock._last.step._replace(time=901.0)
        )
        forecast = call(model, 900)
        assert session.report().computed == (0,)
    # A block's residual is a difference: adding it back rounds once in float32.
    torch.testing.assert_close(forecast, computed, rtol=0, atol=0 if site != "block" else 1e-6)


@pytest.mark.parametrize("site", ["hidden", "block", "module"])
def test_a_forecast_inside_uses_the_current_timestep(site):
    """Reuse at `output` repeats the output; further in, norms and gates move with the time."""
    model = make_transformer()
    with fc.attach(model, fc.Listed([0]), fc.Reuse(), site="output"):
        assert torch.equal(call(model, 900), call(model, 500))
    with fc.attach(model, fc.Listed([0]), fc.Reuse(), site=site):
        assert not torch.equal(call(model, 900), call(model, 500))


@pytest.mark.parametrize(
    ("site", "paths"),
    [
        ("output", [""]),
        ("hidden", ["norm_out"]),
        ("block", [f"transformer_blocks.{i}" for i in range(3)]),
        ("module", [f"transformer_blocks.{i}.{m}" for i in range(3) for m in ("attn1", "ff")]),
    ],
)
def test_sites(site, paths):
    model = make_transformer()
    assert [each.path for each in adapter_for(model).sites(model, site)] == paths


class OtherBlocks(DiTTransformer2DModel):
    """A subclass, whose blocks may be others."""


def test_only_the_exact_class_is_served_inside():
    torch.manual_seed(0)
    model = OtherBlocks(num_attention_heads=2, attention_head_dim=8, num_layers=1, sample_size=8)
    assert adapter_for(make_transformer()).name == "dit"
    assert adapter_for(model).name == "generic"
    with pytest.raises(fc.errors.AttachError, match="'generic', which has no site 'module'"):
        fc.attach(model, fc.Every(2), fc.Reuse(), site="module")


@pytest.mark.parametrize("site", CALLS)
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_dtypes(site, dtype):
    model = make_transformer().to(dtype)
    latents = torch.randn(1, 4, 8, 8).to(dtype)
    with fc.attach(model, fc.Every(2), fc.Taylor(), site=site) as session, torch.no_grad():
        for time in (900, 800, 700, 600):
            out = model(latents, timestep=torch.tensor([time]), class_labels=torch.tensor([3]))
            assert out.sample.dtype == dtype
    assert session.report().cache_bytes == session.report().cache_bytes_planned > 0
