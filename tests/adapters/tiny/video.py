"""Models that make videos."""

from __future__ import annotations

import functools
import unittest.mock
from typing import Any

import diffusers
import torch
from diffusers.models.embeddings import get_3d_rotary_pos_embed_allegro
from torch import nn
from torch.nn.attention.flex_attention import create_block_mask

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
def wan_animate_2() -> Tiny:
    """A step of a segment whose reference video was seen before."""
    from diffusers.models.transformers import transformer_wan_animate_2 as home

    model = diffusers.WanAnimate2Transformer3DModel(
        text_len=5, in_dim=12, dim=24, ffn_dim=24, freq_dim=16, text_dim=12, out_dim=4,
        num_heads=2, num_layers=3, use_img_emb=False,
    )  # fmt: skip
    cache = home.WanAnimate2KVCache(3)
    for layer in cache.layer_caches:
        layer.store(rand(2, 12, 2, 12), rand(2, 12, 2, 12))
    # The one that it would make, compiled.
    mask = functools.partial(create_block_mask, _compile=False)
    with unittest.mock.patch.object(home, "create_block_mask", mask):
        model.block_masks[2, 6] = model.create_mask(2, 6, torch.device("cpu"))
    arguments = {
        "hidden_states": [rand(4, 3, 4, 6) for _ in range(2)],
        "encoder_hidden_states": [rand(5, 12) for _ in range(2)],
        "condition_latents": [rand(8, 3, 4, 6) for _ in range(2)],
        "kv_cache": cache, "kv_cache_mode": "cached", "seq_len": 18,
        "reference_grid_sizes": torch.tensor([[2, 2, 3]] * 2), "origin_len": 5,
        "origin_area": [32, 48],
    }  # fmt: skip
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


@tiny
def hunyuan_video_15() -> Tiny:
    model = diffusers.HunyuanVideo15Transformer3DModel(
        in_channels=9, out_channels=4, num_attention_heads=2, attention_head_dim=8, num_layers=3,
        num_refiner_layers=1, text_embed_dim=12, text_embed_2_dim=10, image_embed_dim=9,
        rope_axes_dim=(4, 2, 2), target_size=16, task_type="t2v",
    )  # fmt: skip
    arguments = {
        "hidden_states": rand(2, 9, 3, 2, 3),
        "encoder_hidden_states": rand(2, 5, 12),
        "encoder_attention_mask": torch.tensor([[1, 1, 1, 1, 1], [1, 1, 1, 0, 0]]),
        "encoder_hidden_states_2": rand(2, 4, 10),
        "encoder_attention_mask_2": torch.tensor([[1, 1, 0, 0], [0, 0, 0, 0]]),
        "image_embeds": torch.zeros(2, 3, 9),
    }
    return Tiny(model, arguments)


def ltx2_model(**changes: Any) -> nn.Module:
    config: dict[str, Any] = {
        "in_channels": 4, "out_channels": 4, "num_attention_heads": 2, "attention_head_dim": 8,
        "cross_attention_dim": 16, "audio_in_channels": 4, "audio_out_channels": None,
        "audio_num_attention_heads": 2, "audio_attention_head_dim": 4,
        "audio_cross_attention_dim": 8, "num_layers": 2, "caption_channels": 12,
        "rope_double_precision": False,
    }  # fmt: skip
    return diffusers.LTX2VideoTransformer3DModel(**config | changes)


@tiny
def ltx2() -> Tiny:
    arguments = {
        "hidden_states": rand(2, 18, 4),
        "audio_hidden_states": rand(2, 7, 4),
        "encoder_hidden_states": rand(2, 5, 12),
        "audio_encoder_hidden_states": rand(2, 5, 12),
        "encoder_attention_mask": torch.ones(2, 5, dtype=torch.bool),
        "audio_encoder_attention_mask": torch.ones(2, 5, dtype=torch.bool),
        "num_frames": 3, "height": 2, "width": 3, "audio_num_frames": 7,
    }  # fmt: skip
    return Tiny(ltx2_model(), arguments)


@tiny
def kandinsky5() -> Tiny:
    model = diffusers.Kandinsky5Transformer3DModel(
        in_visual_dim=4, in_text_dim=12, in_text_dim2=10, time_dim=16, out_visual_dim=4,
        model_dim=16, ff_dim=32, num_text_blocks=1, num_visual_blocks=3, axes_dims=(4, 2, 2),
        visual_cond=True,
    )  # fmt: skip
    arguments = {
        "hidden_states": rand(2, 3, 4, 6, 9),
        "encoder_hidden_states": rand(2, 5, 12),
        "pooled_projections": rand(2, 10),
        "visual_rope_pos": [torch.arange(3), torch.arange(2), torch.arange(3)],
        "text_rope_pos": torch.arange(5),
    }
    return Tiny(model, arguments)


def kandinsky6_model() -> nn.Module:
    return diffusers.Kandinsky6Transformer3DModel(
        in_visual_dim=4, out_visual_dim=4, in_text_dim=12, in_text_dim2=10, time_dim=16,
        model_dim=16, ff_dim=32, num_text_blocks=1, num_visual_blocks=2, axes_dims=(4, 2, 2),
        in_audio_dim=5, out_audio_dim=5, text_token_padding=True, ca_rope=True, cross_gates=True,
        fix_modulation=True,
    )  # fmt: skip


@tiny
def kandinsky6() -> Tiny:
    return Tiny(
        kandinsky6_model(), kandinsky6_arguments() | {"audio_hidden_states": rand(2, 7, 5)}
    )


def kandinsky6_arguments() -> dict[str, Any]:
    return {
        "hidden_states": rand(2, 3, 4, 6, 9),
        "encoder_hidden_states": rand(2, 5, 12),
        "pooled_projections": rand(2, 10),
    }


@tiny
def kandinsky6_silent() -> Tiny:
    """Without sound, whose part of the model then rests."""
    return Tiny(kandinsky6_model(), kandinsky6_arguments())


@tiny
def kandinsky6_sr() -> Tiny:
    model = diffusers.Kandinsky6SRTransformer3DModel(
        in_visual_dim=4, out_visual_dim=4, time_dim=16, model_dim=16, ff_dim=32,
        num_visual_blocks=2, axes_dims=(4, 2, 2), nabla_window=(1, 1, 1),
    )  # fmt: skip
    return Tiny(model, {"hidden_states": rand(2, 2, 8, 8, 9)})


@tiny
def consisid() -> Tiny:
    model = diffusers.ConsisIDTransformer3DModel(
        num_attention_heads=3, attention_head_dim=16, in_channels=4, out_channels=4,
        time_embed_dim=4, text_embed_dim=12, num_layers=3, sample_width=8, sample_height=8,
        sample_frames=9, patch_size=2, temporal_compression_ratio=4, max_text_seq_length=5,
        is_train_face=True, cross_attn_dim_head=8, cross_attn_num_heads=2, LFE_id_dim=6,
        LFE_vit_dim=6, LFE_depth=2, LFE_dim_head=4, LFE_num_heads=1, LFE_num_id_token=2,
        LFE_num_querie=3, LFE_output_dim=32, LFE_ff_mult=1, LFE_num_scale=2,
        cross_attn_interval=1,
    )  # fmt: skip
    arguments = {
        "hidden_states": rand(2, 3, 4, 8, 8),
        "encoder_hidden_states": rand(2, 5, 12),
        "id_cond": rand(2, 6),
        "id_vit_hidden": [rand(2, 3, 6), rand(2, 3, 6)],
    }
    return Tiny(model, arguments)


def allegro_rope(frames: int, height: int, width: int, channels: int) -> Any:
    """As the pipeline makes it."""
    *frequencies, t, h, w = get_3d_rotary_pos_embed_allegro(
        embed_dim=channels, crops_coords=((0, 0), (height, width)), grid_size=(height, width),
        temporal_size=frames,
    )  # fmt: skip
    places = torch.cartesian_prod(t.long(), h.long(), w.long()).T.reshape(3, 1, -1).contiguous()
    return tuple(frequencies), tuple(places)


@tiny
def allegro() -> Tiny:
    model = diffusers.AllegroTransformer3DModel(
        num_attention_heads=2, attention_head_dim=12, in_channels=4, out_channels=4, num_layers=2,
        cross_attention_dim=24, sample_height=4, sample_width=6, sample_frames=3,
        caption_channels=12,
    )  # fmt: skip
    arguments = {
        "hidden_states": rand(2, 4, 3, 4, 6),
        "encoder_hidden_states": rand(2, 5, 12),
        "encoder_attention_mask": torch.tensor([[1, 1, 1, 1, 1], [1, 1, 1, 0, 0]]),
        "image_rotary_emb": allegro_rope(3, 2, 3, channels=12),
    }
    return Tiny(model, arguments)


@tiny
def latte() -> Tiny:
    model = diffusers.LatteTransformer3DModel(
        num_attention_heads=2, attention_head_dim=8, in_channels=4, out_channels=8, num_layers=2,
        cross_attention_dim=16, attention_bias=True, sample_size=8, patch_size=2,
        activation_fn="gelu-approximate", norm_type="ada_norm_single",
        norm_elementwise_affine=False, norm_eps=1e-6, caption_channels=12, video_length=3,
    )  # fmt: skip
    arguments = {"hidden_states": rand(2, 4, 3, 8, 8), "encoder_hidden_states": rand(2, 5, 12)}
    return Tiny(model, arguments)
