"""Chroma (Lodestone Rock): FLUX.1's blocks without guidance or modulation of their own."""

from dataclasses import replace
from typing import Any

import torch

from forecastcache.adapter import Adapter
from forecastcache.adapters.flux import FLUX
from forecastcache.adapters.layout import grid_of_ids, packed_sides
from forecastcache.memory.input_size import InputSize


def _inputs(config: Any, size: InputSize) -> dict[str, Any]:
    rows, columns = packed_sides(size)
    tokens = rows * columns
    text = size.text(512)
    return {
        "hidden_states": torch.empty(size.batch, tokens, config.in_channels),
        "encoder_hidden_states": torch.empty(size.batch, text, config.joint_attention_dim),
        "img_ids": torch.empty(tokens, 3),
        "txt_ids": torch.empty(text, 3),
        "attention_mask": torch.empty(size.batch, text + tokens),
    }


DOUBLE, SINGLE = FLUX.trunk

CHROMA = Adapter(
    name="chroma",
    models=("diffusers.ChromaTransformer2DModel",),
    trunk=(DOUBLE, replace(SINGLE, streams=("hidden_states",))),
    tail="norm_out",
    modulated="transformer_blocks.0.norm1",
    grid=grid_of_ids,
    inputs=_inputs,
    shared=("img_ids", "txt_ids"),
)
