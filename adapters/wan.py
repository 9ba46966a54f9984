"""Wan 2.1 and 2.2: video blocks of self-attention, cross-attention and MLP (2503.20314)."""

from collections.abc import Mapping
from typing import Any

import torch

from forecastcache.adapter import Adapter, Trunk
from forecastcache.memory.input_size import InputSize


def _grid(given: Mapping[str, Any], config: Any) -> tuple[int, ...]:
    frames, height, width = given["hidden_states"].shape[-3:]
    patch_frames, patch_height, patch_width = config.patch_size
    return frames // patch_frames, height // patch_height, width // patch_width


def _inputs(config: Any, size: InputSize) -> dict[str, Any]:
    _, patch, _ = config.patch_size
    # Wan 2.2's 5B model has 48 channels, of an autoencoder that halves each side once more.
    squeeze = size.latent_pixels or (16 if config.in_channels == 48 else 8)
    rows, columns = size.rounded_pixels(480, 832, patch=squeeze * patch, multiple=16)
    frames = size.latent_frames(81, every=4)
    text = size.text(512)
    return {
        "hidden_states": torch.empty(
            size.batch, config.in_channels, frames, rows * patch, columns * patch
        ),
        "encoder_hidden_states": torch.empty(size.batch, text, config.text_dim),
    }


WAN = Adapter(
    name="wan",
    models=("diffusers.WanTransformer3DModel",),
    trunk=(
        Trunk(
            path="blocks",
            streams=("hidden_states",),
            modules=("attn1", "attn2", "ffn"),
        ),
    ),
    tail="norm_out",
    modulated="condition_embedder",
    grid=_grid,
    inputs=_inputs,
)
