"""Models that make sound."""

from __future__ import annotations

import diffusers
import torch

from .make import Tiny, rand, tiny


@tiny
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


@tiny
def stable_audio_3() -> Tiny:
    """Part of the sound is given, as for inpainting."""
    model = diffusers.StableAudio3DiTModel(
        io_channels=4, embed_dim=16, depth=3, num_heads=2, cond_token_dim=12, global_cond_dim=12,
        local_add_cond_dim=5, timestep_features_dim=8, ff_mult=2, num_memory_tokens=3,
    )  # fmt: skip
    arguments = {
        "hidden_states": rand(2, 4, 6),
        "timestep": torch.ones(2),
        "encoder_hidden_states": rand(2, 5, 12),
        "encoder_attention_mask": torch.tensor([[1, 1, 1, 1, 1], [1, 1, 1, 0, 0]]),
        "global_hidden_states": rand(2, 12),
        "local_add_cond": rand(2, 5, 6),
    }
    return Tiny(model, arguments)


@tiny
def ace_step() -> Tiny:
    model = diffusers.AceStepTransformer1DModel(
        hidden_size=16, intermediate_size=24, num_hidden_layers=3, num_attention_heads=2,
        num_key_value_heads=1, head_dim=8, in_channels=12, audio_acoustic_hidden_dim=4,
        sliding_window=2, encoder_hidden_size=12,
    )  # fmt: skip
    arguments = {
        "hidden_states": rand(2, 7, 4),
        "timestep": torch.ones(2),
        "timestep_r": torch.ones(2),
        "encoder_hidden_states": rand(2, 5, 12),
        "context_latents": rand(2, 7, 8),
    }
    return Tiny(model, arguments)


@tiny
def longcat_audio() -> Tiny:
    model = diffusers.LongCatAudioDiTTransformer(
        dit_dim=16, dit_depth=3, dit_heads=2, dit_text_dim=12, latent_dim=4, ff_mult=2
    )
    arguments = {
        "hidden_states": rand(2, 6, 4),
        "encoder_hidden_states": rand(2, 5, 12),
        "encoder_attention_mask": torch.tensor([[1, 1, 1, 1, 1], [1, 1, 1, 0, 0]]).bool(),
        "timestep": torch.ones(2),
        "latent_cond": rand(2, 6, 4),
    }
    return Tiny(model, arguments)


@tiny
def minimax_music3() -> Tiny:
    model = diffusers.MiniMaxMusic3Transformer1DModel(
        in_channels=4, condition_dim=12, num_layers=3, num_attention_heads=2,
        attention_head_dim=8, ff_inner_dim=24, rotary_dim=4, fourier_embedding_dim=8,
    )  # fmt: skip
    arguments = {
        "hidden_states": rand(2, 4, 6),
        "timestep": torch.ones(2),
        "encoder_hidden_states": rand(2, 6, 12),
    }
    return Tiny(model, arguments)
