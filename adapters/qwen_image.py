"""Qwen-Image: double-stream blocks of image and text (Wu et al., 2508.02324).

Qwen-Image 2.1 has single-stream ones, whose one modulation all share.
"""

import math
from collections.abc import Mapping
from typing import Any

import torch

from forecastcache.adapter import Adapter, Tokenwise, Trunk
from forecastcache.adapters.layout import packed_sides
from forecastcache.memory.input_size import InputSize

LOOKED_AT = 1024  # pixels to a side; the pipeline scales what it is given to this area


def _grid(given: Mapping[str, Any], config: Any) -> tuple[int, ...]:
    frames, height, width = given["img_shapes"][0][0]
    return frames, height, width


def _inputs(config: Any, size: InputSize) -> dict[str, Any]:
    """Those of a model that edits, as of 2511, have one picture to look at behind the sample."""
    rows, columns = packed_sides(size)
    shapes = [(1, rows, columns)]
    if getattr(config, "zero_cond_t", False):
        side = LOOKED_AT // (2 * size.squeeze)
        shapes.append((1, side, side))
    tokens = sum(math.prod(shape) for shape in shapes)
    text = size.text(512)
    return {
        "hidden_states": torch.empty(size.batch, tokens, config.in_channels),
        "encoder_hidden_states": torch.empty(size.batch, text, config.joint_attention_dim),
        "encoder_hidden_states_mask": torch.empty(size.batch, text, dtype=torch.int64),
        "img_shapes": [shapes] * size.batch,
    }


QWEN_IMAGE = Adapter(
    name="qwen-image",
    models=("diffusers.QwenImageTransformer2DModel",),
    trunk=(
        Trunk(
            path="transformer_blocks",
            streams=("encoder_hidden_states", "hidden_states"),
            modules=("attn", "img_mlp", "txt_mlp"),
            tokenwise=(
                Tokenwise("img_mlp", values="attn.to_v"),
                Tokenwise("txt_mlp", values="attn.add_v_proj", leads=True),
            ),
        ),
    ),
    tail="norm_out",
    modulated="transformer_blocks.0.img_mod",
    grid=_grid,
    inputs=_inputs,
)

QWEN_IMAGE_21 = Adapter(
    name="qwen-image-2.1",
    models=("diffusers.QwenImage21Transformer2DModel",),
    trunk=(
        Trunk(
            path="transformer_blocks",
            streams=("hidden_states",),
            modules=("attn", "img_mlp"),
        ),
    ),
    tail="norm_out",
    modulated="modulation",
)
