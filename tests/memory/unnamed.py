"""Small models that are called with no record of how, in ways that read data."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import diffusers
import torch
from diffusers.models.transformers.transformer_flux2 import (
    Flux2KVAttnProcessor,
    Flux2KVParallelSelfAttnProcessor,
)
from diffusers.models.transformers.transformer_glm_image import GlmImageKVCache
from torch import nn

Call = dict[str, Any]
MASK = torch.tensor([[1, 1, 1, 1, 0]])


def flux2_klein_kv() -> tuple[nn.Module, list[Call]]:
    """Its first call takes tokens of a reference, the others their keys and values."""
    model = diffusers.Flux2Transformer2DModel(
        in_channels=4, num_layers=1, num_single_layers=1, attention_head_dim=8,
        num_attention_heads=2, joint_attention_dim=12, timestep_guidance_channels=8,
        axes_dims_rope=(2, 2, 2, 2), guidance_embeds=False,
    ).eval()  # fmt: skip
    for block in model.transformer_blocks:
        block.attn.set_processor(Flux2KVAttnProcessor())
    for block in model.single_transformer_blocks:
        block.attn.set_processor(Flux2KVParallelSelfAttnProcessor())
    text = {"encoder_hidden_states": torch.randn(1, 5, 12), "txt_ids": torch.zeros(5, 4)}
    first = text | {
        "hidden_states": torch.randn(1, 9, 4), "img_ids": torch.zeros(9, 4),
        "kv_cache_mode": "extract", "num_ref_tokens": 3,
    }  # fmt: skip
    with torch.no_grad():
        _, cache = model(**first, timestep=torch.ones(1), return_dict=False)
    other = text | {
        "hidden_states": torch.randn(1, 6, 4), "img_ids": torch.zeros(6, 4),
        "kv_cache_mode": "cached", "kv_cache": cache,
    }  # fmt: skip
    return model, [first, other]


def hunyuan_video_15() -> tuple[nn.Module, list[Call]]:
    model = diffusers.HunyuanVideo15Transformer3DModel(
        in_channels=9, out_channels=4, num_attention_heads=2, attention_head_dim=8, num_layers=1,
        num_refiner_layers=1, mlp_ratio=2.0, text_embed_dim=12, text_embed_2_dim=10,
        image_embed_dim=14, rope_axes_dim=(2, 2, 4),
    ).eval()  # fmt: skip
    call = {
        "hidden_states": torch.randn(1, 9, 2, 4, 4),
        "encoder_hidden_states": torch.randn(1, 5, 12), "encoder_attention_mask": MASK,
        "encoder_hidden_states_2": torch.randn(1, 4, 10),
        "encoder_attention_mask_2": torch.tensor([[1, 0, 0, 0]]),
        "image_embeds": torch.randn(1, 3, 14),
    }  # fmt: skip
    return model, [call]


def hunyuan_image() -> tuple[nn.Module, list[Call]]:
    model = diffusers.HunyuanImageTransformer2DModel(
        in_channels=4, out_channels=4, num_attention_heads=2, attention_head_dim=8, num_layers=1,
        num_single_layers=1, num_refiner_layers=1, mlp_ratio=2.0, text_embed_dim=12,
        text_embed_2_dim=10, rope_axes_dim=(4, 4),
    ).eval()  # fmt: skip
    call = {
        "hidden_states": torch.randn(1, 4, 4, 4),
        "encoder_hidden_states": torch.randn(1, 5, 12), "encoder_attention_mask": MASK,
        "encoder_hidden_states_2": torch.randn(1, 4, 10),
        "encoder_attention_mask_2": torch.tensor([[1, 1, 0, 0]]),
    }  # fmt: skip
    return model, [call]


def helios() -> tuple[nn.Module, list[Call]]:
    """Frames made before come in three strengths of compression."""
    model = diffusers.HeliosTransformer3DModel(
        num_attention_heads=2, attention_head_dim=12, in_channels=4, out_channels=4, text_dim=12,
        freq_dim=8, ffn_dim=16, num_layers=1, rope_dim=(4, 4, 4),
    ).eval()  # fmt: skip
    call = {
        "hidden_states": torch.randn(1, 4, 2, 8, 8),
        "encoder_hidden_states": torch.randn(1, 5, 12),
        "indices_hidden_states": torch.arange(20, 22)[None],
        "indices_latents_history_short": torch.arange(18, 20)[None],
        "indices_latents_history_mid": torch.arange(16, 18)[None],
        "indices_latents_history_long": torch.arange(0, 16)[None],
        "latents_history_short": torch.randn(1, 4, 2, 8, 8),
        "latents_history_mid": torch.randn(1, 4, 2, 8, 8),
        "latents_history_long": torch.randn(1, 4, 16, 8, 8),
    }
    return model, [call]


def omnigen() -> tuple[nn.Module, list[Call]]:
    model = diffusers.OmniGenTransformer2DModel(
        in_channels=4, hidden_size=16, num_attention_heads=2, num_key_value_heads=2,
        intermediate_size=16, num_layers=1, pad_token_id=0, vocab_size=20, time_step_dim=8,
        pos_embed_max_size=8, rope_scaling={"long_factor": [1.0] * 4, "short_factor": [1.0] * 4},
    ).eval()  # fmt: skip
    tokens = 3 + 1 + 16
    call = {
        "hidden_states": torch.randn(1, 4, 8, 8),
        "input_ids": torch.tensor([[1, 2, 3]]),
        "input_img_latents": [],
        "input_image_sizes": {},
        "attention_mask": torch.ones(1, tokens, tokens),
        "position_ids": torch.arange(tokens)[None],
    }
    return model, [call]


def cogview4() -> tuple[nn.Module, list[Call]]:
    model = diffusers.CogView4Transformer2DModel(
        in_channels=4, out_channels=4, num_layers=1, attention_head_dim=8, num_attention_heads=2,
        text_embed_dim=12, time_embed_dim=8, condition_dim=4, sample_size=8, rope_axes_dim=(8, 8),
    ).eval()  # fmt: skip
    size = torch.tensor([[64.0, 64.0]])
    call = {
        "hidden_states": torch.randn(1, 4, 8, 8), "encoder_hidden_states": torch.randn(1, 5, 12),
        "original_size": size, "target_size": size, "crop_coords": size * 0,
        "attention_mask": torch.ones(1, 5, dtype=torch.int64),
    }  # fmt: skip
    return model, [call]


def glm_image() -> tuple[nn.Module, list[Call]]:
    """Keys and values of reference images come in an object of its own."""
    model = diffusers.GlmImageTransformer2DModel(
        in_channels=4, out_channels=4, num_layers=1, attention_head_dim=8, num_attention_heads=2,
        text_embed_dim=12, time_embed_dim=8, condition_dim=4, prior_vq_quantizer_codebook_size=9,
    ).eval()  # fmt: skip
    size = torch.tensor([[64.0, 64.0]])
    call = {
        "hidden_states": torch.randn(1, 4, 8, 8), "encoder_hidden_states": torch.randn(1, 5, 12),
        "prior_token_id": torch.randint(9, (1, 16)), "target_size": size, "crop_coords": size * 0,
        "prior_token_drop": torch.arange(16)[None] % 3 == 0,
    }  # fmt: skip
    caches = GlmImageKVCache(1)
    caches.set_mode("write")
    with torch.no_grad():
        model(**call, timestep=torch.zeros(1), kv_caches=caches)
    caches.next_sample()
    caches.set_mode("read")
    return model, [call | {"kv_caches": caches}]


MODELS: dict[str, Callable[[], tuple[nn.Module, list[Call]]]] = {
    each.__name__: each
    for each in (
        flux2_klein_kv, hunyuan_video_15, hunyuan_image, helios, omnigen, cogview4, glm_image,
    )
}  # fmt: skip
