"""HiDream-I1: double-stream blocks of image and text, then single-stream ones (2505.22705)."""

from functools import partial
from typing import Any

import torch
from torch import Tensor, nn

from forecastcache.adapter import Adapter, Trunk
from forecastcache.adapters.layout import image_grid
from forecastcache.memory.input_size import InputSize


def _read_no_data(model: Any) -> None:
    """Let every token visit the first experts, and tell image sizes by their shapes."""
    patchify = model.patchify

    def with_known_sizes(hidden_states: Tensor) -> tuple[Any, ...]:
        tokens, masks, _, ids = patchify(hidden_states)
        size = image_grid({"hidden_states": hidden_states}, model.config)
        return tokens, masks, [size] * len(hidden_states), ids

    model.patchify = with_known_sizes
    for module in model.modules():
        if hasattr(module, "moe_infer"):
            experts = list(module.experts)[: module.num_activated_experts]
            module.moe_infer = partial(_sum_of, experts)


def _sum_of(experts: list[nn.Module], x: Tensor, indices: Tensor, weights: Tensor) -> Tensor:
    return torch.stack([expert(x) for expert in experts]).sum(0)


def _inputs(config: Any, size: InputSize) -> dict[str, Any]:
    patch = config.patch_size
    usual = 128 * size.squeeze
    rows, columns = size.pixels_of_area(usual, usual, patch=size.squeeze * patch)
    text, layers = size.text(128), max(config.llama_layers) + 1
    t5, llama = config.caption_channels
    return {
        "hidden_states": torch.empty(
            size.batch, config.in_channels, rows * patch, columns * patch
        ),
        "encoder_hidden_states_t5": torch.empty(size.batch, text, t5),
        "encoder_hidden_states_llama3": torch.empty(layers, size.batch, text, llama),
        "pooled_embeds": torch.empty(size.batch, config.text_emb_dim),
    }


HIDREAM = Adapter(
    name="hidream",
    models=("diffusers.HiDreamImageTransformer2DModel",),
    time=("timesteps",),
    trunk=(
        Trunk(
            path="double_stream_blocks",
            streams=("hidden_states", "encoder_hidden_states"),
            modules=("block.attn1", "block.ff_i", "block.ff_t"),
        ),
        Trunk(
            path="single_stream_blocks",
            streams=("hidden_states",),
            modules=("block.attn1", "block.ff_i"),
        ),
    ),
    tail="final_layer",
    modulated="double_stream_blocks.0.block.adaLN_modulation",
    grid=image_grid,
    guidance="batched",
    inputs=_inputs,
    without_data=_read_no_data,
)
