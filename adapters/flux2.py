"""FLUX.2 and Klein (Black Forest Labs): double-stream blocks, then fused single-stream ones.

A single-stream block has the text before the image in one stream, and attention and MLP in one
module. `guidance` is that of FLUX.2-dev; Klein that is not distilled is called twice a step.
"""

from typing import Any

import torch

from forecastcache.adapter import Adapter, Trunk
from forecastcache.adapters.layout import grid_of_ids, packed_sides
from forecastcache.memory.input_size import InputSize


def _inputs(config: Any, size: InputSize) -> dict[str, Any]:
    rows, columns = packed_sides(size)
    tokens = rows * columns
    text = size.text(512)
    axes = len(config.axes_dims_rope)
    return {
        "hidden_states": torch.empty(size.batch, tokens, config.in_channels),
        "encoder_hidden_states": torch.empty(size.batch, text, config.joint_attention_dim),
        "img_ids": torch.empty(size.batch, tokens, axes),
        "txt_ids": torch.empty(size.batch, text, axes),
        "guidance": torch.empty(size.batch) if config.guidance_embeds else None,
    }


FLUX2 = Adapter(
    name="flux2",
    models=("diffusers.Flux2Transformer2DModel",),
    trunk=(
        Trunk(
            path="transformer_blocks",
            streams=("encoder_hidden_states", "hidden_states"),
            modules=("attn", "ff", "ff_context"),
        ),
        Trunk(
            path="single_transformer_blocks",
            streams=("hidden_states",),
            modules=("attn",),
        ),
    ),
    tail="norm_out",
    modulated="double_stream_modulation_img",
    grid=grid_of_ids,
    guidance="embedded",
    inputs=_inputs,
)
