"""Models that make videos."""

from __future__ import annotations

from typing import Any

import diffusers
import torch
from torch import nn

from .make import Tiny, rand, tiny

HUNYUAN = {
    "in_channels": 4, "out_channels": 4, "num_attention_heads": 2, "attention_head_dim": 8,
    "num_layers": 2, "num_single_layers": 2, "num_refiner_layers": 1, "text_embed_dim": 12,
    "pooled_projection_dim": 10, "rope_axes_dim": (4, 2, 2), "patch_size": 2, "patch_size_t": 1,
}  # fmt: skip


def hunyuan_arguments() -> dict[str, Any]:
    return {
        "hidden_states": rand(2, 4, 3, 4, 6),
        "encoder_hidden_states": rand(2, 5, 12),
        "encoder_attention_mask": torch.tensor([[1, 1, 1, 1, 1], [1, 1, 1, 0, 0]]),
        "pooled_projections": rand(2, 10),
        "guidance": torch.full((2,), 6000.0),
    }


@tiny
def hunyuan_video() -> Tiny:
    return Tiny(diffusers.HunyuanVideoTransformer3DModel(**HUNYUAN), hunyuan_arguments())


@tiny
def hunyuan_video_token_replace() -> Tiny:
    changes = {"guidance_embeds": False, "image_condition_type": "token_replace"}
    model = diffusers.HunyuanVideoTransformer3DModel(**HUNYUAN | changes)
    return Tiny(model, hunyuan_arguments() | {"guidance": None})


def framepack_model() -> nn.Module:
    return diffusers.HunyuanVideoFramepackTransformer3DModel(
        **HUNYUAN, has_image_proj=True, image_proj_dim=9, has_clean_x_embedder=True
    )


@tiny
def framepack(batch: int = 2) -> Tiny:
    arguments = {name: x[:batch] for name, x in hunyuan_arguments().items()} | {
        "image_embeds": rand(batch, 2, 9),
        "indices_latents": torch.arange(20, 23),
        "latents_clean": rand(batch, 4, 2, 4, 6),
        "indices_latents_clean": torch.tensor([0, 19]),
        "latents_history_2x": rand(batch, 4, 2, 4, 6),
        "indices_latents_history_2x": torch.tensor([17, 18]),
        "latents_history_4x": rand(batch, 4, 16, 4, 6),
        "indices_latents_history_4x": torch.arange(1, 17),
    }
    return Tiny(framepack_model(), arguments)


@tiny
def framepack_alone() -> Tiny:
    """One video: its text is cut to what its mask says."""
    tiny = framepack(batch=1)
    mask = torch.tensor([[1, 1, 1, 0, 0]])
    return tiny._replace(arguments=tiny.arguments | {"encoder_attention_mask": mask})


WAN = {
    "patch_size": (1, 2, 2), "num_attention_heads": 2, "attention_head_dim": 12, "in_channels": 4,
    "out_channels": 4, "text_dim": 12, "freq_dim": 16, "ffn_dim": 24, "num_layers": 3,
    "rope_max_seq_len": 32,
}  # fmt: skip


def wan_model() -> nn.Module:
    return diffusers.WanTransformer3DModel(**WAN)


def wan_arguments() -> dict[str, Any]:
    return {"hidden_states": rand(2, 4, 3, 4, 6), "encoder_hidden_states": rand(2, 5, 12)}


@tiny
def wan() -> Tiny:
    return Tiny(wan_model(), wan_arguments())


@tiny
def wan_vace() -> Tiny:
    model = diffusers.WanVACETransformer3DModel(**WAN, vace_layers=[0, 2], vace_in_channels=6)
    return Tiny(model, wan_arguments() | {"control_hidden_states": rand(2, 6, 3, 4, 6)})


@tiny
def wan_animate() -> Tiny:
    sizes = {"4": 8, "8": 8, "16": 8}
    model = diffusers.WanAnimateTransformer3DModel(
        **WAN | {"in_channels": 12, "num_layers": 4}, latent_channels=4, image_dim=16,
        motion_encoder_channel_sizes=sizes, motion_encoder_size=16, motion_style_dim=8,
        motion_dim=4, motion_encoder_dim=16, face_encoder_hidden_dim=16,
        face_encoder_num_heads=2, inject_face_latents_blocks=2,
    )  # fmt: skip
    arguments = {
        "hidden_states": rand(2, 12, 3, 4, 6),
        "encoder_hidden_states": rand(2, 5, 12),
        "encoder_hidden_states_image": rand(2, 3, 16),
        "pose_hidden_states": rand(2, 4, 2, 4, 6),
        "face_pixel_values": rand(2, 3, 5, 16, 16),
    }
    return Tiny(model, arguments)


@tiny
def skyreels_v2() -> Tiny:
    return Tiny(diffusers.SkyReelsV2Transformer3DModel(**WAN), wan_arguments())


@tiny
def chrono_edit() -> Tiny:
    return Tiny(diffusers.ChronoEditTransformer3DModel(**WAN), wan_arguments())


@tiny
def ltx() -> Tiny:
    model = diffusers.LTXVideoTransformer3DModel(
        in_channels=4, out_channels=4, num_attention_heads=2, attention_head_dim=8,
        cross_attention_dim=16, num_layers=2, caption_channels=12,
    )  # fmt: skip
    arguments = {
        "hidden_states": rand(2, 18, 4),
        "encoder_hidden_states": rand(2, 5, 12),
        "encoder_attention_mask": torch.ones(2, 5, dtype=torch.bool),
        "num_frames": 3, "height": 2, "width": 3,
    }  # fmt: skip
    return Tiny(model, arguments)


@tiny
def cogvideox() -> Tiny:
    model = diffusers.CogVideoXTransformer3DModel(
        num_attention_heads=2, attention_head_dim=8, in_channels=4, out_channels=4,
        time_embed_dim=4, text_embed_dim=12, num_layers=2, sample_width=8, sample_height=8,
        sample_frames=9, patch_size=2, temporal_compression_ratio=4, max_text_seq_length=5,
    )  # fmt: skip
    arguments = {"hidden_states": rand(2, 3, 4, 8, 8), "encoder_hidden_states": rand(2, 5, 12)}
    return Tiny(model, arguments)


@tiny
def mochi() -> Tiny:
    model = diffusers.MochiTransformer3DModel(
        patch_size=2, num_attention_heads=2, attention_head_dim=8, num_layers=2,
        pooled_projection_dim=16, in_channels=4, text_embed_dim=16, time_embed_dim=4,
        activation_fn="swiglu", max_sequence_length=5,
    )  # fmt: skip
    arguments = {
        "hidden_states": rand(2, 4, 2, 4, 4),
        "encoder_hidden_states": rand(2, 5, 16),
        "encoder_attention_mask": torch.ones(2, 5, dtype=torch.bool),
    }
    return Tiny(model, arguments)
