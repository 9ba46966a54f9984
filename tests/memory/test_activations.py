"""Activations found without data, against calls with data."""

from __future__ import annotations

import copy
import gc

import diffusers
import pytest
import torch
from torch import nn
from torch.nn import functional as F
from torch.profiler import ProfilerActivity, profile
from torch.utils import _pytree as pytree

from forecastcache.memory.activations import activation_bytes
from forecastcache.memory.input_size import InputSize
from forecastcache.memory.live_bytes import LiveBytes
from forecastcache.memory.plan import plan_memory
from forecastcache.memory.planned_call import planned_call
from forecastcache.memory.planned_model import planned_model
from forecastcache.registry import adapter_for

MIB = 2**20
FLOAT = torch.float32


def flux() -> nn.Module:
    return diffusers.FluxTransformer2DModel(
        in_channels=16, num_layers=2, num_single_layers=2, attention_head_dim=32,
        num_attention_heads=4, joint_attention_dim=64, pooled_projection_dim=64,
        axes_dims_rope=(8, 12, 12),
    )  # fmt: skip


def dit() -> nn.Module:
    return diffusers.DiTTransformer2DModel(
        num_attention_heads=4, attention_head_dim=32, num_layers=3, sample_size=32
    )


def hunyuan_video() -> nn.Module:
    return diffusers.HunyuanVideoTransformer3DModel(
        num_attention_heads=2, attention_head_dim=32, num_layers=1, num_single_layers=1,
        num_refiner_layers=1, text_embed_dim=32, pooled_projection_dim=32,
        rope_axes_dim=(8, 12, 12),
    )  # fmt: skip


CALLS = {
    flux: InputSize(512, 512),
    dit: InputSize(),
    hunyuan_video: InputSize(256, 256, 9),
}


def with_data(arguments: object) -> object:
    def filled(tensor: torch.Tensor) -> torch.Tensor:
        whole = not tensor.is_floating_point()
        return torch.ones(tensor.shape, dtype=tensor.dtype) if whole else torch.rand(tensor.shape)

    return pytree.tree_map_only(torch.Tensor, filled, arguments)


def planned_and_ready(make, size: InputSize) -> tuple[int, nn.Module, dict]:
    """Bytes planned for a call, the model with data, and the arguments of the same call."""
    torch.manual_seed(0)
    model = make().eval()
    adapter = adapter_for(model)
    empty = copy.deepcopy(model).to("meta")
    arguments = planned_call(empty, adapter, size, None, FLOAT).arguments
    return activation_bytes(empty, adapter, arguments), model, with_data(arguments)


@pytest.mark.parametrize("make", CALLS)
def test_as_many_bytes_are_alive_as_with_data(make):
    """The tensors are the same ones; a mask costs less in torch's fused kernel for CPUs."""
    planned, model, arguments = planned_and_ready(make, CALLS[make])
    live = LiveBytes()
    live.follow(arguments)
    with live, torch.no_grad():
        model(**arguments)
    assert live.peak <= planned <= 1.02 * live.peak


@pytest.mark.parametrize("make", CALLS)
def test_the_allocator_sees_what_is_planned(make):
    """What torch's profiler sees allocated has workspaces of kernels as well, which are small."""
    planned, model, arguments = planned_and_ready(make, CALLS[make])
    with torch.no_grad():
        model(**arguments)
        with profile(activities=[ProfilerActivity.CPU], profile_memory=True) as profiler:
            model(**arguments)
    events = profiler.profiler.kineto_results.events()
    changes = sorted((it.start_ns(), it.nbytes()) for it in events if it.name() == "[memory]")
    allocated = peak = 0
    for _, change in changes:
        allocated += change
        peak = max(peak, allocated)
    given = sum(it.nbytes for it in pytree.tree_leaves(arguments) if isinstance(it, torch.Tensor))
    assert planned == pytest.approx(given + peak, rel=0.03)


def test_live_bytes_follow_storages_and_not_views():
    weight = torch.ones(256)
    with LiveBytes() as live:
        first = torch.zeros(1024)
        views = first.view(32, 32), weight[:9], first[:3].t()
        assert live.peak == 4096
        first.add_(1)
        assert live.peak == 4096
        del first, views
        gc.collect()
        second = torch.zeros(512) + 1  # two at a time
        del second
    assert live.peak == 4096


def test_attention_holds_no_scores():
    class Attention(nn.Module):
        config = None

        def forward(self, hidden_states, timestep=None):
            return F.scaled_dot_product_attention(hidden_states, hidden_states, hidden_states)

    model, tokens = Attention(), torch.empty(1, 2, 4096, 8, device="meta")
    planned = activation_bytes(model, adapter_for(model), {"hidden_states": tokens})
    assert planned == 2 * tokens.nbytes + 2 * 4096 * 4


def test_planning_leaves_the_model_as_it_was():
    model = planned_model("zoo:dit-digits")
    adapter = adapter_for(model)
    before = plan_memory(model, depth=2).total_bytes
    arguments = planned_call(model, adapter, InputSize(), None, torch.bfloat16).arguments
    assert activation_bytes(model, adapter, arguments) == activation_bytes(
        model, adapter, arguments
    )
    assert plan_memory(model, depth=2).total_bytes == before
    assert {parameter.device.type for parameter in model.parameters()} == {"meta"}
