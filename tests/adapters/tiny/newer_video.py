"""Models that make videos, of the second wave."""

from __future__ import annotations

import diffusers
import torch
from diffusers.models.transformers.transformer_anyflow_far import AnyFlowAttnProcessor
from torch import nn

from .make import Tiny, rand, tiny

LATENTS = (2, 4, 3, 4, 6)  # batch, channels, frames, height, width
TEXT = (2, 5, 12)


@tiny
def cosmos() -> Tiny:
    model = diffusers.CosmosTransformer3DModel(
        in_channels=4, out_channels=4, num_attention_heads=2, attention_head_dim=16,
        num_layers=3, mlp_ratio=2, text_embed_dim=12, adaln_lora_dim=4, max_size=(4, 16, 16),
        concat_padding_mask=False,
    )  # fmt: skip
    return Tiny(model, {"hidden_states": rand(*LATENTS), "encoder_hidden_states": rand(*TEXT)})


@tiny
def sana_video() -> Tiny:
    model = diffusers.SanaVideoTransformer3DModel(
        in_channels=4, out_channels=4, num_attention_heads=2, attention_head_dim=12, num_layers=3,
        num_cross_attention_heads=2, cross_attention_head_dim=12, cross_attention_dim=24,
        caption_channels=12, mlp_ratio=2, rope_max_seq_len=32,
    )  # fmt: skip
    return Tiny(model, {"hidden_states": rand(*LATENTS), "encoder_hidden_states": rand(*TEXT)})


@tiny
def easyanimate() -> Tiny:
    model = diffusers.EasyAnimateTransformer3DModel(
        in_channels=4, out_channels=4, patch_size=2, num_attention_heads=2, attention_head_dim=16,
        num_layers=3, mmdit_layers=3, time_embed_dim=16, text_embed_dim=12,
    )  # fmt: skip
    return Tiny(model, {"hidden_states": rand(*LATENTS), "encoder_hidden_states": rand(*TEXT)})


@tiny
def helios() -> Tiny:
    """A section after the first: frames behind it in three sizes of patches."""
    model = diffusers.HeliosTransformer3DModel(
        num_attention_heads=2, attention_head_dim=12, in_channels=4, out_channels=4, text_dim=12,
        freq_dim=16, ffn_dim=24, num_layers=2, rope_dim=(4, 4, 4), is_amplify_history=True,
    )  # fmt: skip
    arguments = {
        "hidden_states": rand(*LATENTS),
        "encoder_hidden_states": rand(*TEXT),
        "indices_hidden_states": torch.arange(20, 23).expand(2, -1),
    }
    for term, frames in (("short", (0, 19)), ("mid", (17, 18)), ("long", range(1, 17))):
        indices = torch.tensor([*frames])
        arguments[f"indices_latents_history_{term}"] = indices.expand(2, -1)
        arguments[f"latents_history_{term}"] = rand(2, 4, len(indices), 4, 6)
    return Tiny(model, arguments)


ANYFLOW = {
    "num_attention_heads": 2, "attention_head_dim": 12, "in_channels": 4, "out_channels": 4,
    "text_dim": 12, "freq_dim": 16, "ffn_dim": 24, "num_layers": 3, "rope_max_seq_len": 32,
}  # fmt: skip


@tiny
def anyflow() -> Tiny:
    arguments = {
        "hidden_states": rand(2, 3, 4, 4, 6),
        "timestep": torch.full((2, 3), 1000.0),
        "r_timestep": torch.full((2, 3), 850.0),
        "encoder_hidden_states": rand(*TEXT),
    }
    return Tiny(diffusers.AnyFlowTransformer3DModel(**ANYFLOW), arguments)


@tiny
def anyflow_far() -> Tiny:
    """All chunks at once, the first of them in larger patches.

    With the attention of the other class: flex attention compiles itself, which a CPU may refuse.
    """
    model = diffusers.AnyFlowFARTransformer3DModel(**ANYFLOW, full_chunk_limit=2)
    for block in model.blocks:
        block.attn1.set_processor(AnyFlowAttnProcessor())
    arguments = {
        "hidden_states": rand(2, 3, 4, 4, 8),
        "timestep": torch.full((2, 3), 1000.0),
        "r_timestep": torch.full((2, 3), 850.0),
        "encoder_hidden_states": rand(*TEXT),
        "chunk_partition": [1, 1, 1],
        "attention_mask": torch.ones(1, 1, 18, 18, dtype=torch.bool).tril(),
    }
    return Tiny(model, arguments)


def motif_video_model(in_channels: int = 4) -> nn.Module:
    return diffusers.MotifVideoTransformer3DModel(
        in_channels=in_channels, out_channels=4, num_attention_heads=2, attention_head_dim=8,
        num_layers=2, num_single_layers=3, num_decoder_layers=1, text_embed_dim=12,
        image_embed_dim=9, rope_axes_dim=(4, 2, 2), enable_text_cross_attention_dual=True,
        enable_text_cross_attention_single=True,
    )  # fmt: skip


@tiny
def motif_video() -> Tiny:
    arguments = {
        "hidden_states": rand(*LATENTS),
        "encoder_hidden_states": rand(*TEXT),
        "encoder_attention_mask": torch.tensor([[1, 1, 1, 1, 1], [1, 1, 1, 0, 0]]),
        "image_embeds": rand(2, 2, 9),
    }
    return Tiny(motif_video_model(), arguments)


@tiny
def sana_wm() -> Tiny:
    """With the rays of a camera, which the model can work out from its poses in float32 only."""
    model = diffusers.SanaWMTransformer3DModel(
        in_channels=4, num_layers=2, hidden_size=48, num_attention_heads=2, linear_head_dim=24,
        softmax_every_n=2, caption_channels=12, chunk_plucker_channels=48, mlp_ratio=2,
    )  # fmt: skip
    rays = torch.eye(4) + 0.1 * rand(2, 18, 4, 4)
    arguments = {
        "hidden_states": rand(2, 4, 3, 2, 3),
        # The model cuts times to whole numbers, and hardly later than this it is the same.
        "timestep": torch.full((2, 1, 3), 100.5),
        "encoder_hidden_states": rand(2, 1, 5, 12),
        "encoder_attention_mask": torch.tensor([[1, 1, 1, 1, 1], [1, 1, 1, 0, 0]]),
        "camera_conditions": rand(2, 3, 20),
        "cam_pos_embeds": {"absmap": rand(2, 3, 3, 2, 3), "P": rays, "P_inv": rays.inverse()},
        "chunk_plucker": rand(2, 48, 3, 2, 3),
    }
    return Tiny(model, arguments)


@tiny
def sana_wm_refiner() -> Tiny:
    """One block of frames alone."""
    model = diffusers.SanaWMLTX2RefinerTransformer3DModel(
        in_channels=4, out_channels=4, num_attention_heads=2, attention_head_dim=8,
        cross_attention_dim=16, audio_in_channels=4, audio_out_channels=4,
        audio_num_attention_heads=2, audio_attention_head_dim=4, audio_cross_attention_dim=8,
        num_layers=3, caption_channels=12,
    )  # fmt: skip
    place = {"frame_positions": [0, 1, 2], "height": 2, "width": 3, "fps": 16.0}
    arguments = {
        "hidden_states": rand(2, 18, 4),
        "encoder_hidden_states": rand(2, 5, 12),
        "timestep": torch.full((2, 18), 1000.0),
        "video_rotary_emb": model.build_rotary_emb_for_absolute_positions(
            2, device=torch.device("cpu"), **place
        ),
        "encoder_attention_mask": torch.tensor([[1, 1, 1, 1, 1], [1, 1, 1, 0, 0]]),
    }
    return Tiny(model, arguments)


@tiny
def minimax_h3() -> Tiny:
    """Three frames of four tokens each, with sound: the rows of text, sound and video."""
    model = diffusers.MiniMaxH3Transformer3DModel(
        num_attention_heads=2, attention_head_dim=16, hidden_size=16, num_layers=3,
        num_refiner_layers=1, ffn_dim=24, in_channels=4, audio_in_channels=4, text_dim=12,
        freq_dim=16, time_embed_hidden_dim=16, time_embed_dim=8, rope_freq_dim=2,
    )  # fmt: skip
    rows = torch.arange(20)
    text, sound, video = rows.split([5, 3, 12])
    tags = torch.cat([torch.full_like(text, 1), torch.full_like(sound, 2), video * 0])
    arguments = {
        "hidden_states": rand(2, 12, 16),
        "audio_hidden_states": rand(2, 3, 4),
        "encoder_hidden_states": rand(*TEXT),
        "timestep": torch.ones(2),
        "timestep_indices": (tags != 1).long(),
        "token_tags": tags,
        "position_ids": torch.stack([rows // 4, rows // 2 % 2, rows % 2], dim=1),
        "video_indices": video,
        "audio_indices": sound,
        "text_indices": text,
    }
    return Tiny(model, arguments)
