"""Stable Diffusion 3 and 3.5: double-stream blocks of image and text (Esser et al., 2403.03206).

The last block returns no text, and some blocks of 3.5 Medium attend to the image twice.
"""

from typing import Any

import torch

from forecastcache.adapter import Adapter, Trunk
from forecastcache.adapters.layout import image_grid
from forecastcache.memory.input_size import InputSize


def _inputs(config: Any, size: InputSize) -> dict[str, Any]:
    patch = config.patch_size
    usual = config.sample_size * size.squeeze
    rows, columns = size.pixels(usual, usual, patch=size.squeeze * patch)
    text = size.text(77) + 256  # of CLIP and of T5
    return {
        "hidden_states": torch.empty(
            size.batch, config.in_channels, rows * patch, columns * patch
        ),
        "encoder_hidden_states": torch.empty(size.batch, text, config.joint_attention_dim),
        "pooled_projections": torch.empty(size.batch, config.pooled_projection_dim),
    }


SD3 = Adapter(
    name="sd3",
    models=("diffusers.SD3Transformer2DModel",),
    trunk=(
        Trunk(
            path="transformer_blocks",
            streams=("encoder_hidden_states", "hidden_states"),
            modules=("attn", "attn2", "ff", "ff_context"),
        ),
    ),
    tail="norm_out",
    modulated="transformer_blocks.0.norm1",
    grid=image_grid,
    guidance="batched",
    inputs=_inputs,
)
