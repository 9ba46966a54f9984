"""What makes neither pictures, videos nor sound alone, and is no UNet."""

from __future__ import annotations

import diffusers
import torch

from .make import Tiny, rand, tiny


@tiny
def prior() -> Tiny:
    model = diffusers.PriorTransformer(
        num_attention_heads=2, attention_head_dim=8, num_layers=2, embedding_dim=12,
        num_embeddings=5,
    )  # fmt: skip
    arguments = {
        "hidden_states": rand(2, 12),
        "proj_embedding": rand(2, 12),
        "encoder_hidden_states": rand(2, 5, 12),
    }
    return Tiny(model, arguments)


@tiny
def transformer_2d() -> Tiny:
    """As Stable Diffusion's UNets have it inside: it takes a time, and reads none."""
    model = diffusers.Transformer2DModel(
        num_attention_heads=2, attention_head_dim=8, in_channels=8, num_layers=2,
        norm_num_groups=4, cross_attention_dim=12,
    )  # fmt: skip
    arguments = {"hidden_states": rand(2, 8, 4, 4), "encoder_hidden_states": rand(2, 5, 12)}
    return Tiny(model, arguments)


@tiny
def transformer_temporal() -> Tiny:
    """As UNets of videos have it inside; one tensor of all frames, which have no condition."""
    model = diffusers.TransformerTemporalModel(
        num_attention_heads=2, attention_head_dim=8, in_channels=8, num_layers=2, norm_num_groups=4
    )
    return Tiny(model, {"hidden_states": rand(6, 8, 4, 4), "num_frames": 3})


@tiny
def t5_film() -> Tiny:
    """A spectrogram; the notes come as a list of encodings with their masks."""
    model = diffusers.T5FilmDecoder(
        input_dims=6, targets_length=4, d_model=16, num_layers=2, num_heads=2, d_kv=8, d_ff=16
    )
    notes = rand(2, 5, 16)
    arguments = {
        "encodings_and_masks": [(notes, torch.ones(2, 5))],
        "decoder_input_tokens": rand(2, 4, 6),
    }
    return Tiny(model, arguments, other={"encodings_and_masks": [(-notes, torch.ones(2, 5))]})


@tiny
def unidiffuser() -> Tiny:
    """An image and a text at once, each with a time of its own."""
    model = diffusers.UniDiffuserModel(
        text_dim=12, clip_img_dim=10, num_text_tokens=5, num_attention_heads=2,
        attention_head_dim=8, in_channels=4, out_channels=4, num_layers=2, sample_size=8,
        patch_size=2, activation_fn="gelu", num_embeds_ada_norm=1000, pre_layer_norm=False,
        norm_num_groups=4, use_timestep_embedding=False, use_patch_pos_embed=False,
    )  # fmt: skip
    arguments = {
        "latent_image_embeds": rand(2, 4, 8, 8),
        "image_embeds": rand(2, 1, 10),
        "prompt_embeds": rand(2, 5, 12),
        "timestep_img": torch.full((2,), 1000.0),
        "timestep_text": torch.full((2,), 1000.0),
    }
    return Tiny(model, arguments, other={"prompt_embeds": -arguments["prompt_embeds"]})


@tiny
def cosmos3() -> Tiny:
    """A video and its sound in one sequence behind the text, each token with a time of its own."""
    model = diffusers.Cosmos3OmniTransformer(
        head_dim=8, hidden_size=16, intermediate_size=24, latent_channel=4, latent_patch_size=2,
        num_attention_heads=2, num_key_value_heads=1, num_hidden_layers=2, patch_latent_dim=16,
        rope_axes_dim=(2, 1, 1), vocab_size=20, sound_gen=True, sound_dim=6,
    )  # fmt: skip
    text, video, sound = 5, 3 * 2 * 2, 4
    places = torch.arange(text + video + sound)
    arguments = {
        "input_ids": torch.arange(text),
        "text_indexes": places[:text],
        "position_ids": places.float().expand(3, -1).clone(),
        "und_len": text,
        "sequence_length": len(places),
        "vision_tokens": [rand(1, 4, 3, 4, 4)],
        "vision_token_shapes": [(3, 2, 2)],
        "vision_sequence_indexes": places[text : text + video],
        "vision_mse_loss_indexes": places[text : text + video],
        "vision_timesteps": torch.full((video,), 1000.0),
        "vision_noisy_frame_indexes": [torch.arange(3)],
        "sound_tokens": [rand(6, sound)],
        "sound_token_shapes": [(sound, 1, 1)],
        "sound_sequence_indexes": places[text + video :],
        "sound_mse_loss_indexes": places[text + video :],
        "sound_timesteps": torch.full((sound,), 1000.0),
        "sound_noisy_frame_indexes": [torch.arange(sound)],
    }
    return Tiny(model, arguments, other={"input_ids": torch.arange(text) + 9})


@tiny
def rfd4_proteina() -> Tiny:
    """A protein's backbone and the rest of each residue, each with a time of its own."""
    times = ("time_emb_bb_ca", "time_emb_local_latents")
    model = diffusers.RFD4ProteinaTransformer(
        nlayers=2, token_dim=16, nheads=2, dim_cond=8, pair_repr_dim=8, latent_dim=4,
        token_type_emb_dim=4, t_emb_dim=8, xt_pair_dist_dim=6, tri_mult_c=8,
        feats_seq=("xt_bb_ca", "xt_local_latents", "token_type"), feats_cond_seq=times,
        feats_pair_repr=("xt_bb_ca_pair_dists",), feats_pair_cond=times, num_sequence_classes=7,
    )  # fmt: skip
    arguments = {
        "bb_ca": rand(2, 5, 3),
        "local_latents": rand(2, 5, 4),
        "bb_ca_time": torch.ones(2),
        "local_latents_time": torch.ones(2),
        "padding_mask": torch.ones(2, 5, dtype=torch.bool),
        "token_type": torch.zeros(2, 5, dtype=torch.int64),
        "conditioning": {
            "is_in_context_conditioning": torch.zeros(2, 5, dtype=torch.bool),
            "supports_local_latent": torch.ones(2, 5, dtype=torch.bool),
        },
    }
    return Tiny(model, arguments, other={"token_type": torch.ones(2, 5, dtype=torch.int64)})
