"""Mochi 1: double-stream blocks of video and text (Genmo, 2024)."""

from typing import Any

import torch
from torch import Tensor

from forecastcache.adapter import Adapter, Trunk
from forecastcache.adapters.layout import video_grid


def _without_autocast(model: Any) -> None:
    """Autocast knows no device without data, and no shape depends on it."""

    def create_rope(freqs: Tensor, pos: Tensor) -> tuple[Tensor, Tensor]:
        angles = torch.einsum("nd,dhf->nhf", pos.to(freqs), freqs)
        return angles.cos(), angles.sin()

    model.rope._create_rope = create_rope


MOCHI = Adapter(
    name="mochi",
    models=("diffusers.MochiTransformer3DModel",),
    trunk=(
        Trunk(
            path="transformer_blocks",
            streams=("hidden_states", "encoder_hidden_states"),
            modules=("attn1", "ff", "ff_context"),  # the last block has no MLP for the text
        ),
    ),
    tail="norm_out",
    modulated="transformer_blocks.0.norm1",
    grid=video_grid,
    guidance="batched",
    without_data=_without_autocast,
)
