"""Stock model classes, tiny, with random weights, and the arguments of one call of each."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import diffusers
import torch
from torch import nn


class Tiny(NamedTuple):
    """A model and what it is called with, beside the time."""

    model: nn.Module
    arguments: dict[str, Any]


def rand(*shape: int) -> torch.Tensor:
    return torch.randn(shape)


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


def qwen_image() -> Tiny:
    model = diffusers.QwenImageTransformer2DModel(
        in_channels=16, out_channels=4, num_layers=3, attention_head_dim=8, num_attention_heads=2,
        joint_attention_dim=12, axes_dims_rope=(4, 2, 2),
    )  # fmt: skip
    arguments = {
        "hidden_states": rand(2, 12, 16),
        "encoder_hidden_states": rand(2, 5, 12),
        "encoder_hidden_states_mask": torch.tensor([[1, 1, 1, 1, 1], [1, 1, 1, 0, 0]]),
        "img_shapes": [[(1, 4, 3)]] * 2,
    }
    return Tiny(model, arguments)


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


def hunyuan_video() -> Tiny:
    return Tiny(diffusers.HunyuanVideoTransformer3DModel(**HUNYUAN), hunyuan_arguments())


def hunyuan_video_token_replace() -> Tiny:
    changes = {"guidance_embeds": False, "image_condition_type": "token_replace"}
    model = diffusers.HunyuanVideoTransformer3DModel(**HUNYUAN | changes)
    return Tiny(model, hunyuan_arguments() | {"guidance": None})


def framepack_model() -> nn.Module:
    return diffusers.HunyuanVideoFramepackTransformer3DModel(
        **HUNYUAN, has_image_proj=True, image_proj_dim=9, has_clean_x_embedder=True
    )


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


def framepack_alone() -> Tiny:
    """One video: its text is cut to what its mask says."""
    tiny = framepack(batch=1)
    mask = torch.tensor([[1, 1, 1, 0, 0]])
    return tiny._replace(arguments=tiny.arguments | {"encoder_attention_mask": mask})


def wan_model() -> nn.Module:
    return diffusers.WanTransformer3DModel(
        patch_size=(1, 2, 2), num_attention_heads=2, attention_head_dim=12, in_channels=4,
        out_channels=4, text_dim=12, freq_dim=16, ffn_dim=24, num_layers=3, rope_max_seq_len=32,
    )  # fmt: skip


def wan() -> Tiny:
    arguments = {
        "hidden_states": rand(2, 4, 3, 4, 6),
        "encoder_hidden_states": rand(2, 5, 12),
    }
    return Tiny(wan_model(), arguments)


def hidream_model(experts: int = 3) -> nn.Module:
    return diffusers.HiDreamImageTransformer2DModel(
        patch_size=2, in_channels=4, out_channels=4, num_layers=2, num_single_layers=2,
        attention_head_dim=8, num_attention_heads=2, caption_channels=[12, 14], text_emb_dim=10,
        num_routed_experts=experts, num_activated_experts=min(2, experts),
        axes_dims_rope=(4, 2, 2), max_resolution=(16, 16), llama_layers=[0, 1, 0, 1],
    )  # fmt: skip


def hidream(height: int = 8, width: int = 8, experts: int = 3) -> Tiny:
    arguments = {
        "hidden_states": rand(2, 4, height, width),
        "encoder_hidden_states_t5": rand(2, 5, 12),
        "encoder_hidden_states_llama3": rand(2, 2, 5, 14),
        "pooled_embeds": rand(2, 10),
    }
    return Tiny(hidream_model(experts), arguments)


def hidream_wide() -> Tiny:
    return hidream(8, 12, experts=0)


def sd3() -> Tiny:
    model = diffusers.SD3Transformer2DModel(
        sample_size=8, patch_size=2, in_channels=4, num_layers=2, attention_head_dim=8,
        num_attention_heads=2, caption_projection_dim=16, joint_attention_dim=12,
        pooled_projection_dim=10, out_channels=4, pos_embed_max_size=8,
    )  # fmt: skip
    arguments = {
        "hidden_states": rand(2, 4, 8, 8),
        "encoder_hidden_states": rand(2, 5, 12),
        "pooled_projections": rand(2, 10),
    }
    return Tiny(model, arguments)


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


def sana() -> Tiny:
    model = diffusers.SanaTransformer2DModel(
        in_channels=4, out_channels=4, num_attention_heads=2, attention_head_dim=8, num_layers=2,
        num_cross_attention_heads=2, cross_attention_head_dim=8, cross_attention_dim=16,
        caption_channels=12, mlp_ratio=2, sample_size=8, patch_size=1,
    )  # fmt: skip
    arguments = {"hidden_states": rand(2, 4, 8, 8), "encoder_hidden_states": rand(2, 5, 12)}
    return Tiny(model, arguments)


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


def cogvideox() -> Tiny:
    model = diffusers.CogVideoXTransformer3DModel(
        num_attention_heads=2, attention_head_dim=8, in_channels=4, out_channels=4,
        time_embed_dim=4, text_embed_dim=12, num_layers=2, sample_width=8, sample_height=8,
        sample_frames=9, patch_size=2, temporal_compression_ratio=4, max_text_seq_length=5,
    )  # fmt: skip
    arguments = {"hidden_states": rand(2, 3, 4, 8, 8), "encoder_hidden_states": rand(2, 5, 12)}
    return Tiny(model, arguments)


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


def auraflow() -> Tiny:
    model = diffusers.AuraFlowTransformer2DModel(
        sample_size=8, patch_size=2, in_channels=4, num_mmdit_layers=1,
        num_single_dit_layers=1, attention_head_dim=8, num_attention_heads=2,
        caption_projection_dim=16, joint_attention_dim=12, out_channels=4, pos_embed_max_size=64,
    )  # fmt: skip
    arguments = {"hidden_states": rand(2, 4, 8, 8), "encoder_hidden_states": rand(2, 5, 12)}
    return Tiny(model, arguments)


def lumina2() -> Tiny:
    model = diffusers.Lumina2Transformer2DModel(
        sample_size=8, patch_size=2, in_channels=4, hidden_size=24, num_layers=2,
        num_refiner_layers=1, num_attention_heads=3, num_kv_heads=1, multiple_of=16,
        axes_dim_rope=(4, 2, 2), axes_lens=(32, 16, 16), cap_feat_dim=12,
    )  # fmt: skip
    arguments = {
        "hidden_states": rand(2, 4, 8, 8),
        "encoder_hidden_states": rand(2, 5, 12),
        "encoder_attention_mask": torch.ones(2, 5, dtype=torch.bool),
    }
    return Tiny(model, arguments)


def stable_audio() -> Tiny:
    model = diffusers.StableAudioDiTModel(
        sample_size=6, in_channels=4, num_layers=2, attention_head_dim=8, num_attention_heads=2,
        num_key_value_attention_heads=1, out_channels=4, cross_attention_dim=12,
        time_proj_dim=8, global_states_input_dim=8, cross_attention_input_dim=12,
    )  # fmt: skip
    arguments = {
        "hidden_states": rand(2, 4, 6),
        "encoder_hidden_states": rand(2, 5, 12),
        "global_hidden_states": rand(2, 1, 8),
    }
    return Tiny(model, arguments)


def sdxl_unet() -> Tiny:
    model = diffusers.UNet2DConditionModel(
        block_out_channels=(8, 16), layers_per_block=1, sample_size=8, in_channels=4,
        out_channels=4, down_block_types=("DownBlock2D", "CrossAttnDownBlock2D"),
        up_block_types=("CrossAttnUpBlock2D", "UpBlock2D"), attention_head_dim=(2, 4),
        use_linear_projection=True, addition_embed_type="text_time",
        addition_time_embed_dim=4, transformer_layers_per_block=(1, 1),
        projection_class_embeddings_input_dim=34, cross_attention_dim=12, norm_num_groups=4,
    )  # fmt: skip
    arguments = {
        "sample": rand(2, 4, 8, 8),
        "encoder_hidden_states": rand(2, 5, 12),
        "added_cond_kwargs": {"text_embeds": rand(2, 10), "time_ids": rand(2, 6)},
    }
    return Tiny(model, arguments)


MODELS: dict[str, Callable[[], Tiny]] = {
    each.__name__: each
    for each in (
        dit, flux, qwen_image, hunyuan_video, hunyuan_video_token_replace, framepack,
        framepack_alone, wan, hidream, hidream_wide, sd3, pixart, sana, ltx, cogvideox, mochi,
        auraflow, lumina2, stable_audio, sdxl_unet,
    )
}  # fmt: skip


def make(name: str) -> Tiny:
    """The tiny model called `name`, in evaluation mode."""
    torch.manual_seed(0)
    model, arguments = MODELS[name]()
    # Zero-initialised gates and projections would hide what the blocks do.
    for parameter in model.parameters():
        if not parameter.any():
            nn.init.normal_(parameter, std=0.2)
    return Tiny(model.eval(), arguments)


def other_conditions(tiny: Tiny) -> dict[str, Any]:
    """What another prompt would give."""
    if "class_labels" in tiny.arguments:
        return {"class_labels": torch.tensor([7, 3])}
    return {
        name: -value
        for name, value in tiny.arguments.items()
        if name.startswith("encoder_hidden_states") and value.is_floating_point()
    }
