"""Wan 2.1 and 2.2 and what was made of them: self-attention, cross-attention, MLP (2503.20314).

VACE: Jiang et al., 2503.07598; Wan-Animate: Cheng et al., 2509.14055; SkyReels-V2: Chen et al.,
2504.13074; ChronoEdit: Wu et al., 2510.04290.
"""

import math
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor
from torch.nn.functional import scaled_dot_product_attention

from forecastcache.adapter import Adapter, Tokenwise, Trunk
from forecastcache.memory.input_size import InputSize


def _grid(given: Mapping[str, Any], config: Any) -> tuple[int, ...]:
    frames, height, width = given["hidden_states"].shape[-3:]
    patch_frames, patch_height, patch_width = config.patch_size
    return frames // patch_frames, height // patch_height, width // patch_width


def _inputs(config: Any, size: InputSize) -> dict[str, Any]:
    _, patch, _ = config.patch_size
    # Wan 2.2's 5B model has 48 channels, of an autoencoder that halves each side once more.
    small = config.in_channels == 48
    squeeze = size.latent_pixels or (16 if small else 8)
    height, width = (704, 1280) if small else (480, 832)
    rows, columns = size.rounded_pixels(height, width, patch=squeeze * patch, multiple=16)
    frames = size.latent_frames(121 if small else 81, every=4)
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
            tokenwise=(Tokenwise("ffn", values="attn1.to_v"),),
        ),
    ),
    tail="norm_out",
    modulated="condition_embedder",
    grid=_grid,
    inputs=_inputs,
)

SKYREELS_V2 = replace(
    WAN, name="skyreels-v2", models=("diffusers.SkyReelsV2Transformer3DModel",), inputs=None
)

CHRONO_EDIT = replace(
    WAN, name="chrono-edit", models=("diffusers.ChronoEditTransformer3DModel",), inputs=None
)

WAN_VACE = replace(
    WAN,
    name="wan-vace",
    models=("diffusers.WanVACETransformer3DModel",),
    trunk=(
        replace(WAN.trunk[0], chained=False),
        # These make what is added after some blocks of the first list, and run before it.
        Trunk(
            path="vace_blocks",
            streams=(None, "control_hidden_states"),
            modules=("attn1", "attn2", "ffn"),
        ),
    ),
    inputs=None,
)

WAN_ANIMATE = replace(
    WAN,
    name="wan-animate",
    models=("diffusers.WanAnimateTransformer3DModel",),
    # An attention to the face after some of the blocks.
    trunk=(
        replace(WAN.trunk[0], chained=False),
        Trunk(path="face_adapter", streams=(None,), modules=("",)),
    ),
    inputs=None,
)


def _attend_to_all(model: Any) -> None:
    """Attend to all tokens: a mask of the video leaves some out, by a kernel that reads data."""
    model.create_mask = lambda *_: None
    for block in model.blocks:
        block.self_attn.set_processor(_attention)


def _attention(attn: Any, hidden_states: Tensor, **given: Any) -> Tensor:
    query, key, value = (
        project(hidden_states).unflatten(-1, (attn.heads, -1)).transpose(1, 2)
        for project in (attn.to_q, attn.to_k, attn.to_v)
    )
    if given["kv_cache_mode"] == "cached":
        tokens = math.prod(given["reference_grid_sizes"][0].tolist())
        reference = key.new_empty(*key.shape[:2], tokens, key.shape[3])
        key, value = (torch.cat([each, reference], 2) for each in (key, value))
    found = scaled_dot_product_attention(query, key, value)
    joined: Tensor = attn.to_out[0](found.transpose(1, 2).flatten(2))
    return joined


WAN_ANIMATE_2 = Adapter(
    name="wan-animate-2",
    models=("diffusers.WanAnimate2Transformer3DModel",),
    trunk=(
        Trunk(
            path="blocks",
            streams=("hidden_states",),
            modules=("self_attn", "cross_attn", "ffn"),
        ),
    ),
    tail="head",
    modulated="time_projection",
    without_data=_attend_to_all,
)
