"""DiT, class-conditional (Peebles and Xie, 2212.09748)."""

from typing import Any

import torch

from forecastcache.adapter import Adapter, Tokenwise, Trunk
from forecastcache.adapters.layout import image_grid
from forecastcache.errors import SizeError
from forecastcache.memory.input_size import InputSize


def _inputs(config: Any, size: InputSize) -> dict[str, Any]:
    usual = config.sample_size * size.squeeze
    rows, columns = size.pixels(usual, usual, patch=size.squeeze * config.patch_size)
    if rows != columns:
        raise SizeError(f"this model makes square pictures only: write height={usual}")
    patch, channels = config.patch_size, config.in_channels
    return {
        "hidden_states": torch.empty(size.batch, channels, rows * patch, columns * patch),
        "class_labels": torch.empty(size.batch, dtype=torch.int64),
    }


DIT = Adapter(
    name="dit",
    models=("diffusers.DiTTransformer2DModel",),
    trunk=(
        Trunk(
            path="transformer_blocks",
            streams=("hidden_states",),
            modules=("attn1", "ff"),
            tokenwise=(Tokenwise("ff", values="attn1.to_v"),),
        ),
    ),
    tail="norm_out",
    modulated="transformer_blocks.0.norm1",
    grid=image_grid,
    guidance="batched",
    inputs=_inputs,
)
