"""FLUX.1 (Black Forest Labs): double-stream blocks of image and text, then single-stream ones."""

from typing import Any

import torch

from forecastcache.adapter import Adapter, Skip, Tokenwise, Trunk
from forecastcache.adapters.layout import grid_of_ids, packed_sides
from forecastcache.memory.input_size import InputSize


def _inputs(config: Any, size: InputSize) -> dict[str, Any]:
    rows, columns = packed_sides(size)
    tokens = rows * columns
    text = size.text(512)
    return {
        "hidden_states": torch.empty(size.batch, tokens, config.in_channels),
        "encoder_hidden_states": torch.empty(size.batch, text, config.joint_attention_dim),
        "pooled_projections": torch.empty(size.batch, config.pooled_projection_dim),
        "img_ids": torch.empty(tokens, 3),
        "txt_ids": torch.empty(text, 3),
        "guidance": torch.empty(size.batch) if config.guidance_embeds else None,
    }


FLUX = Adapter(
    name="flux",
    models=("diffusers.FluxTransformer2DModel",),
    trunk=(
        Trunk(
            path="transformer_blocks",
            streams=("encoder_hidden_states", "hidden_states"),
            modules=("attn", "ff", "ff_context"),
            tokenwise=(
                Tokenwise("ff", values="attn.to_v"),
                Tokenwise("ff_context", values="attn.add_v_proj", leads=True),
            ),
        ),
        Trunk(
            path="single_transformer_blocks",
            streams=("encoder_hidden_states", "hidden_states"),
            modules=("proj_out",),
            skipped=(Skip("attn"), Skip("proj_mlp"), Skip("act_mlp")),
            tokenwise=(
                Tokenwise("proj_out", values="attn.to_v", entry="proj_mlp", beside=("attn",)),
            ),
        ),
    ),
    tail="norm_out",
    modulated="transformer_blocks.0.norm1",
    grid=grid_of_ids,
    guidance="embedded",
    inputs=_inputs,
    shared=("img_ids", "txt_ids"),
)
