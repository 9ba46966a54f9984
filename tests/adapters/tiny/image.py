"""Models that make pictures."""

from __future__ import annotations

from typing import Any

import diffusers
import torch
from torch import nn

from .make import Tiny, rand, tiny


@tiny
def dit() -> Tiny:
    model = diffusers.DiTTransformer2DModel(
        num_attention_heads=2, attention_head_dim=8, in_channels=4, out_channels=4, num_layers=3,
        sample_size=8, patch_size=2,
    )  # fmt: skip
    return Tiny(model, {"hidden_states": rand(2, 4, 8, 8), "class_labels": torch.tensor([1, 2])})


def flux_ids(height: int = 4, width: int = 3) -> torch.Tensor:
    ids = torch.zeros(height, width, 3)
    ids[..., 1] = torch.arange(height)[:, None]
    ids[..., 2] = torch.arange(width)
    return ids.flatten(0, 1)


def flux_model(**changes: Any) -> nn.Module:
    config: dict[str, Any] = {
        "in_channels": 4, "num_layers": 2, "num_single_layers": 3, "attention_head_dim": 8,
        "num_attention_heads": 2, "joint_attention_dim": 12, "pooled_projection_dim": 10,
        "axes_dims_rope": (4, 2, 2), "guidance_embeds": True,
    }  # fmt: skip
    return diffusers.FluxTransformer2DModel(**config | changes)


@tiny
def flux() -> Tiny:
    arguments = {
        "hidden_states": rand(2, 12, 4),
        "encoder_hidden_states": rand(2, 5, 12),
        "pooled_projections": rand(2, 10),
        "img_ids": flux_ids(),
        "txt_ids": torch.zeros(5, 3),
        "guidance": torch.full((2,), 3.5),
    }
    return Tiny(flux_model(), arguments)


def qwen_image_model(**changes: Any) -> nn.Module:
    return diffusers.QwenImageTransformer2DModel(
        in_channels=16, out_channels=4, num_layers=3, attention_head_dim=8, num_attention_heads=2,
        joint_attention_dim=12, axes_dims_rope=(4, 2, 2), **changes,
    )  # fmt: skip


@tiny
def qwen_image() -> Tiny:
    arguments = {
        "hidden_states": rand(2, 12, 16),
        "encoder_hidden_states": rand(2, 5, 12),
        "encoder_hidden_states_mask": torch.tensor([[1, 1, 1, 1, 1], [1, 1, 1, 0, 0]]),
        "img_shapes": [[(1, 4, 3)]] * 2,
    }
    return Tiny(qwen_image_model(), arguments)


@tiny
def qwen_image_edit() -> Tiny:
    """As of 2511: the picture to look at, behind the sample, has a time of 0."""
    arguments = qwen_image().arguments | {
        "hidden_states": rand(2, 12 + 6, 16),
        "img_shapes": [[(1, 4, 3), (1, 2, 3)]] * 2,
    }
    return Tiny(qwen_image_model(zero_cond_t=True), arguments)


def hidream_model(experts: int = 3) -> nn.Module:
    return diffusers.HiDreamImageTransformer2DModel(
        patch_size=2, in_channels=4, out_channels=4, num_layers=2, num_single_layers=2,
        attention_head_dim=8, num_attention_heads=2, caption_channels=[12, 14], text_emb_dim=10,
        num_routed_experts=experts, num_activated_experts=min(2, experts),
        axes_dims_rope=(4, 2, 2), max_resolution=(16, 16), llama_layers=[0, 1, 0, 1],
    )  # fmt: skip


@tiny
def hidream(height: int = 8, width: int = 8, experts: int = 3) -> Tiny:
    arguments = {
        "hidden_states": rand(2, 4, height, width),
        "encoder_hidden_states_t5": rand(2, 5, 12),
        "encoder_hidden_states_llama3": rand(2, 2, 5, 14),
        "pooled_embeds": rand(2, 10),
    }
    return Tiny(hidream_model(experts), arguments)


@tiny
def hidream_wide() -> Tiny:
    return hidream(8, 12, experts=0)


@tiny
def sd3() -> Tiny:
    model = diffusers.SD3Transformer2DModel(
        sample_size=8, patch_size=2, in_channels=4, num_layers=3, attention_head_dim=8,
        num_attention_heads=2, caption_projection_dim=16, joint_attention_dim=12,
        pooled_projection_dim=10, out_channels=4, pos_embed_max_size=8,
        dual_attention_layers=(0,), qk_norm="rms_norm",
    )  # fmt: skip
    arguments = {
        "hidden_states": rand(2, 4, 8, 8),
        "encoder_hidden_states": rand(2, 5, 12),
        "pooled_projections": rand(2, 10),
    }
    return Tiny(model, arguments)


@tiny
def pixart() -> Tiny:
    model = diffusers.PixArtTransformer2DModel(
        sample_size=8, num_layers=2, patch_size=2, attention_head_dim=8, num_attention_heads=2,
        in_channels=4, out_channels=8, cross_attention_dim=16, caption_channels=12,
        norm_num_groups=4, use_additional_conditions=False,
    )  # fmt: skip
    arguments = {
        "hidden_states": rand(2, 4, 8, 8),
        "encoder_hidden_states": rand(2, 5, 12),
        "added_cond_kwargs": {"resolution": None, "aspect_ratio": None},
    }
    return Tiny(model, arguments)


@tiny
def sana() -> Tiny:
    model = diffusers.SanaTransformer2DModel(
        in_channels=4, out_channels=4, num_attention_heads=2, attention_head_dim=8, num_layers=2,
        num_cross_attention_heads=2, cross_attention_head_dim=8, cross_attention_dim=16,
        caption_channels=12, mlp_ratio=2, sample_size=8, patch_size=1,
    )  # fmt: skip
    arguments = {"hidden_states": rand(2, 4, 8, 8), "encoder_hidden_states": rand(2, 5, 12)}
    return Tiny(model, arguments)


@tiny
def auraflow() -> Tiny:
    model = diffusers.AuraFlowTransformer2DModel(
        sample_size=8, patch_size=2, in_channels=4, num_mmdit_layers=2,
        num_single_dit_layers=2, attention_head_dim=8, num_attention_heads=2,
        caption_projection_dim=16, joint_attention_dim=12, out_channels=4, pos_embed_max_size=64,
    )  # fmt: skip
    arguments = {"hidden_states": rand(2, 4, 8, 8), "encoder_hidden_states": rand(2, 5, 12)}
    return Tiny(model, arguments)


@tiny
def lumina2() -> Tiny:
    model = diffusers.Lumina2Transformer2DModel(
        sample_size=8, patch_size=2, in_channels=4, hidden_size=24, num_layers=2,
        num_refiner_layers=1, num_attention_heads=3, num_kv_heads=1, multiple_of=16,
        axes_dim_rope=(4, 2, 2), axes_lens=(32, 16, 16), cap_feat_dim=12,
    )  # fmt: skip
    arguments = {
        "hidden_states": rand(2, 4, 8, 8),
        "encoder_hidden_states": rand(2, 5, 12),
        "encoder_attention_mask": torch.tensor([[1, 1, 1, 1, 0], [1, 1, 0, 0, 0]]).bool(),
    }
    return Tiny(model, arguments)


def flux2_ids(height: int = 4, width: int = 3) -> torch.Tensor:
    ids = torch.zeros(2, height * width, 4)
    ids[..., :3] = flux_ids(height, width)
    return ids


def flux2_model(**changes: Any) -> nn.Module:
    config: dict[str, Any] = {
        "in_channels": 4, "num_layers": 2, "num_single_layers": 3, "attention_head_dim": 8,
        "num_attention_heads": 2, "joint_attention_dim": 12, "axes_dims_rope": (2, 2, 2, 2),
    }  # fmt: skip
    return diffusers.Flux2Transformer2DModel(**config | changes)


@tiny
def flux2() -> Tiny:
    arguments = {
        "hidden_states": rand(2, 12, 4),
        "encoder_hidden_states": rand(2, 5, 12),
        "img_ids": flux2_ids(),
        "txt_ids": torch.zeros(2, 5, 4),
        "guidance": torch.full((2,), 4.0),
    }
    return Tiny(flux2_model(), arguments)


@tiny
def z_image() -> Tiny:
    """Its samples and texts are lists, the texts of different lengths."""
    model = diffusers.ZImageTransformer2DModel(
        all_patch_size=(2,), all_f_patch_size=(1,), in_channels=4, dim=24, n_layers=2,
        n_refiner_layers=2, n_heads=2, n_kv_heads=2, cap_feat_dim=12, axes_dims=[4, 4, 4],
        axes_lens=[128, 32, 32], t_scale=1.0,
    )  # fmt: skip
    arguments = {
        "x": [rand(4, 1, 8, 6), rand(4, 1, 8, 6)],
        "cap_feats": [rand(5, 12), rand(40, 12)],
    }
    return Tiny(model, arguments)


@tiny
def chroma() -> Tiny:
    model = diffusers.ChromaTransformer2DModel(
        in_channels=4, num_layers=2, num_single_layers=3, attention_head_dim=8,
        num_attention_heads=2, joint_attention_dim=12, axes_dims_rope=(4, 2, 2),
        approximator_num_channels=8, approximator_hidden_dim=16, approximator_layers=1,
    )  # fmt: skip
    mask = torch.ones(2, 5 + 12)
    mask[1, 3:5] = 0
    arguments = {
        "hidden_states": rand(2, 12, 4),
        "encoder_hidden_states": rand(2, 5, 12),
        "img_ids": flux_ids(),
        "txt_ids": torch.zeros(5, 3),
        "attention_mask": mask,
    }
    return Tiny(model, arguments)


@tiny
def qwen_image21() -> Tiny:
    """One picture to look at, in a slot of the text, before the one that is made."""
    model = diffusers.QwenImage21Transformer2DModel(
        in_channels=4, out_channels=4, num_layers=3, attention_head_dim=8, num_attention_heads=2,
        context_in_dim=12, axes_dims_rope=(4, 2, 2), mlp_ratio=2,
    )  # fmt: skip
    slots = torch.tensor([[0, 0, 1, 0, 0, 1, 1]], dtype=torch.bool)
    arguments = {
        "hidden_states": rand(2, 4 + 8, 4),
        "encoder_hidden_states": rand(2, 5, 12),
        "img_shapes": [[(1, 2, 2), (1, 4, 2)]] * 2,
        "img_mask": slots.expand(2, -1),
        "encoder_hidden_states_mask": torch.tensor([[1, 1, 1, 1, 1], [1, 1, 1, 1, 0]]).bool(),
    }
    return Tiny(model, arguments)


@tiny
def hunyuan_image() -> Tiny:
    model = diffusers.HunyuanImageTransformer2DModel(
        in_channels=4, out_channels=4, num_attention_heads=2, attention_head_dim=8, num_layers=2,
        num_single_layers=2, num_refiner_layers=1, patch_size=(1, 1), text_embed_dim=12,
        text_embed_2_dim=10, rope_axes_dim=(4, 4), mlp_ratio=2.0,
    )  # fmt: skip
    arguments = {
        "hidden_states": rand(2, 4, 4, 3),
        "encoder_hidden_states": rand(2, 5, 12),
        "encoder_attention_mask": torch.tensor([[1, 1, 1, 1, 1], [1, 1, 1, 0, 0]]),
        "encoder_hidden_states_2": rand(2, 3, 10),
        "encoder_attention_mask_2": torch.tensor([[1, 1, 0], [0, 0, 0]]),
    }
    return Tiny(model, arguments)


COGVIEW: dict[str, Any] = {
    "in_channels": 4, "out_channels": 4, "num_layers": 3, "attention_head_dim": 8,
    "num_attention_heads": 2, "text_embed_dim": 12, "time_embed_dim": 8, "condition_dim": 4,
    "pos_embed_max_size": 8, "sample_size": 8,
}  # fmt: skip


def cogview_arguments() -> dict[str, Any]:
    sizes = torch.tensor([[64.0, 48.0]] * 2)
    return {
        "hidden_states": rand(2, 4, 8, 6),
        "encoder_hidden_states": rand(2, 5, 12),
        "original_size": sizes,
        "target_size": sizes.clone(),
        "crop_coords": torch.zeros(2, 2),
    }


@tiny
def cogview4() -> Tiny:
    model = diffusers.CogView4Transformer2DModel(**COGVIEW, rope_axes_dim=(8, 8))
    return Tiny(model, cogview_arguments())


@tiny
def cogview3_plus() -> Tiny:
    return Tiny(diffusers.CogView3PlusTransformer2DModel(**COGVIEW), cogview_arguments())


@tiny
def hunyuan_dit() -> Tiny:
    model = diffusers.HunyuanDiT2DModel(
        num_attention_heads=2, attention_head_dim=8, in_channels=4, patch_size=2, sample_size=8,
        hidden_size=16, num_layers=4, mlp_ratio=2.0, cross_attention_dim=12,
        cross_attention_dim_t5=16, pooled_projection_dim=6, text_len=4, text_len_t5=3,
        use_style_cond_and_image_meta_size=False,
    )  # fmt: skip
    arguments = {
        "hidden_states": rand(2, 4, 8, 6),
        "encoder_hidden_states": rand(2, 4, 12),
        "text_embedding_mask": torch.tensor([[1, 1, 1, 1], [1, 1, 0, 0]]),
        "encoder_hidden_states_t5": rand(2, 3, 16),
        "text_embedding_mask_t5": torch.tensor([[1, 1, 1], [1, 0, 0]]),
    }
    return Tiny(model, arguments)


@tiny
def lumina_next_dit() -> Tiny:
    model = diffusers.LuminaNextDiT2DModel(
        sample_size=8, patch_size=2, in_channels=4, hidden_size=16, num_layers=3,
        num_attention_heads=2, num_kv_heads=1, multiple_of=16, cross_attention_dim=12,
    )  # fmt: skip
    angles = torch.rand(16, 16, 4)
    arguments = {
        "hidden_states": rand(2, 4, 8, 6),
        "encoder_hidden_states": rand(2, 5, 12),
        "encoder_mask": torch.tensor([[1, 1, 1, 1, 1], [1, 1, 1, 0, 0]]),
        "image_rotary_emb": torch.polar(torch.ones_like(angles), angles),
        "cross_attention_kwargs": {},
    }
    return Tiny(model, arguments)
