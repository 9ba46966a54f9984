"""Models that make pictures, of the newer families."""

from __future__ import annotations

from typing import Any

import diffusers
import torch

from .image import flux_ids
from .make import Tiny, rand, tiny

FLUX_LIKE = {
    "in_channels": 4, "num_layers": 2, "num_single_layers": 3, "attention_head_dim": 8,
    "num_attention_heads": 2, "joint_attention_dim": 12, "axes_dims_rope": (4, 2, 2),
}  # fmt: skip


def flux_like_arguments() -> dict[str, Any]:
    return {
        "hidden_states": rand(2, 12, 4),
        "encoder_hidden_states": rand(2, 5, 12),
        "img_ids": flux_ids(),
        "txt_ids": torch.zeros(5, 3),
    }


@tiny
def bria() -> Tiny:
    return Tiny(diffusers.BriaTransformer2DModel(**FLUX_LIKE), flux_like_arguments())


@tiny
def bria_fibo() -> Tiny:
    model = diffusers.BriaFiboTransformer2DModel(**FLUX_LIKE, text_encoder_dim=6)
    # One layer of the text encoder for each block.
    layers = [rand(2, 5, 6) for _ in range(5)]
    return Tiny(model, flux_like_arguments() | {"text_encoder_layers": layers})


@tiny
def longcat_image() -> Tiny:
    model = diffusers.LongCatImageTransformer2DModel(**FLUX_LIKE)
    ids = flux_ids() + torch.tensor([1.0, 5.0, 5.0])  # another modality, after the text
    return Tiny(model, flux_like_arguments() | {"img_ids": ids})


@tiny
def ovis_image() -> Tiny:
    model = diffusers.OvisImageTransformer2DModel(**FLUX_LIKE, out_channels=4)
    return Tiny(model, flux_like_arguments())
