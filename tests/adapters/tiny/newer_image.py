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


@tiny
def bria_fibo2() -> Tiny:
    model = diffusers.BriaFibo2Transformer2DModel(
        in_channels=4, patch_size=2, dim=32, n_layers=3, n_refiner_layers=2, n_heads=2,
        cap_feat_dim=12, injection_layer_ids=(1,), perceiver_num_layers=1,
        min_num_gist_tokens=2, max_num_gist_tokens=4, gist_step=1, gist_min_text_len=2,
        gist_max_text_len=6, axes_dims=(8, 4, 4), axes_lens=(16, 8, 8),
    )  # fmt: skip
    arguments = {
        "hidden_states": rand(2, 4, 8, 6),
        # What the gist is made of, and what the one block with an injection reads.
        "encoder_hidden_states": rand(2, 2, 5, 12),
        "encoder_attention_mask": torch.tensor([[1, 1, 1, 1, 1], [1, 1, 1, 0, 0]]).bool(),
        "timestep": torch.ones(2),
    }
    return Tiny(model, arguments)


@tiny
def krea2() -> Tiny:
    model = diffusers.Krea2Transformer2DModel(
        in_channels=4, num_layers=3, attention_head_dim=8, num_attention_heads=2,
        num_key_value_heads=1, intermediate_size=24, timestep_embed_dim=16, text_hidden_dim=12,
        num_text_layers=2, text_num_attention_heads=2, text_num_key_value_heads=2,
        text_intermediate_size=16, num_layerwise_text_blocks=1, num_refiner_text_blocks=1,
        axes_dims_rope=(4, 2, 2),
    )  # fmt: skip
    arguments = {
        "hidden_states": rand(2, 12, 4),
        "encoder_hidden_states": rand(2, 5, 2, 12),
        "position_ids": torch.cat([torch.zeros(5, 3), flux_ids()]),
        "encoder_attention_mask": torch.tensor([[1, 1, 1, 1, 1], [1, 1, 1, 0, 0]]).bool(),
        "timestep": torch.ones(2),
    }
    return Tiny(model, arguments)


@tiny
def omnigen() -> Tiny:
    model = diffusers.OmniGenTransformer2DModel(
        in_channels=4, patch_size=2, hidden_size=16, num_attention_heads=2, num_key_value_heads=2,
        intermediate_size=24, num_layers=3, pad_token_id=0, vocab_size=20,
        max_position_embeddings=64, original_max_position_embeddings=32,
        rope_scaling={"short_factor": [1.0] * 4, "long_factor": [2.0] * 4},
        pos_embed_max_size=8, time_step_dim=16,
    )  # fmt: skip
    length = 7 + 1 + 12  # of text with a picture in it, time and image
    arguments = {
        "hidden_states": rand(2, 4, 8, 6),
        "input_ids": torch.tensor([[3, 4, 5, 6, 7, 8, 9], [9, 8, 7, 6, 5, 4, 3]]),
        "input_img_latents": [rand(1, 4, 4, 4)],
        "input_image_sizes": {0: [[2, 6]]},
        "attention_mask": torch.ones(2, length, length, dtype=torch.int64).tril(),
        "position_ids": torch.arange(length).expand(2, -1),
    }
    return Tiny(model, arguments, {"input_ids": arguments["input_ids"] + 10})


@tiny
def prx() -> Tiny:
    model = diffusers.PRXTransformer2DModel(
        in_channels=4, patch_size=2, context_in_dim=12, hidden_size=16, mlp_ratio=2.0,
        num_heads=2, depth=3, axes_dim=[4, 4],
    )  # fmt: skip
    arguments = {
        "hidden_states": rand(2, 4, 8, 6),
        "encoder_hidden_states": rand(2, 5, 12),
        "attention_mask": torch.tensor([[1, 1, 1, 1, 1], [1, 1, 1, 0, 0]]).bool(),
    }
    return Tiny(model, arguments)


FLUX3 = {
    "in_channels": 4, "cond_in_channels": 4, "num_layers": 2, "num_single_layers": 2,
    "attention_head_dim": 8, "num_attention_heads": 2, "joint_attention_dim": 12,
    "timestep_channels": 16, "axes_dims_rope": (2, 2, 2, 2),
}  # fmt: skip


@tiny
def flux3() -> Tiny:
    arguments = {
        "hidden_states": rand(2, 12, 4),
        "encoder_hidden_states": rand(2, 5, 12),
        "img_ids": torch.cat([flux_ids(), torch.zeros(12, 1)], -1),
        "txt_ids": torch.zeros(5, 4),
    }
    return Tiny(diffusers.Flux3Transformer2DModel(**FLUX3), arguments)


@tiny
def flux3_with_reference() -> Tiny:
    """Distilled to few steps, so that it is told where each step leads to."""
    model = diffusers.Flux3Transformer2DModel(**FLUX3, flow_map=True)
    arguments = flux3().arguments | {
        "image_cond_hidden_states": rand(2, 6, 4),
        "image_cond_ids": torch.ones(6, 4),
        "target_timestep": torch.full((2,), 0.5),
    }
    return Tiny(model, arguments)


@tiny
def glm_image() -> Tiny:
    model = diffusers.GlmImageTransformer2DModel(
        patch_size=2, in_channels=4, out_channels=4, num_layers=3, attention_head_dim=8,
        num_attention_heads=2, text_embed_dim=12, time_embed_dim=16, condition_dim=8,
        prior_vq_quantizer_codebook_size=20,
    )  # fmt: skip
    arguments = {
        "hidden_states": rand(2, 4, 8, 6),
        "encoder_hidden_states": rand(2, 5, 12),
        "prior_token_id": torch.arange(24).reshape(2, 12) % 20,
        "prior_token_drop": torch.tensor([[False] * 12, [True] * 12]),
        "target_size": torch.tensor([[64.0, 48.0]] * 2),
        "crop_coords": torch.zeros(2, 2),
        "attention_mask": torch.tensor([[1, 1, 1, 1, 1], [1, 1, 1, 0, 0]]),
    }
    return Tiny(model, arguments)


@tiny
def ernie_image() -> Tiny:
    model = diffusers.ErnieImageTransformer2DModel(
        hidden_size=16, num_attention_heads=2, num_layers=3, ffn_hidden_size=24, in_channels=4,
        out_channels=4, text_in_dim=12, rope_axes_dim=(4, 2, 2),
    )  # fmt: skip
    arguments = {
        "hidden_states": rand(2, 4, 4, 3),
        "text_bth": rand(2, 5, 12),
        "text_lens": torch.tensor([5, 3]),
    }
    return Tiny(model, arguments, {"text_bth": -arguments["text_bth"]})


@tiny
def nucleusmoe_image() -> Tiny:
    model = diffusers.NucleusMoEImageTransformer2DModel(
        in_channels=16, out_channels=4, num_layers=3, attention_head_dim=8, num_attention_heads=2,
        num_key_value_heads=1, joint_attention_dim=12, axes_dims_rope=(4, 2, 2), mlp_ratio=12.0,
        dense_moe_strategy="leave_first_block_dense", num_experts=3, moe_intermediate_dim=24,
        capacity_factors=2.0,
    )  # fmt: skip
    for name, parameter in model.named_parameters():
        if ".experts." in name:  # which are made without values
            torch.nn.init.normal_(parameter, std=0.2)
    arguments = {
        "hidden_states": rand(2, 12, 16),
        "img_shapes": [(1, 4, 3)] * 2,
        "timestep": torch.ones(2),
        "encoder_hidden_states": rand(2, 5, 12),
        "encoder_hidden_states_mask": torch.tensor([[1, 1, 1, 1, 1], [1, 1, 1, 0, 0]]),
    }
    return Tiny(model, arguments)


@tiny
def ideogram4() -> Tiny:
    model = diffusers.Ideogram4Transformer2DModel(
        in_channels=4, num_layers=3, attention_head_dim=8, num_attention_heads=2,
        intermediate_size=24, adaln_dim=16, llm_features_dim=12, rope_theta=1000,
        mrope_section=(2, 1, 1),
    )  # fmt: skip
    places = torch.cat([torch.arange(5).repeat(3, 1).T, flux_ids().long() + 65536])
    arguments = {
        "hidden_states": rand(2, 17, 4),
        "encoder_hidden_states": rand(2, 17, 12),
        "position_ids": places.expand(2, -1, -1),
        "segment_ids": torch.tensor([[1] * 17, [-1] * 2 + [1] * 15]),
        "timestep": torch.ones(2),
        "indicator": torch.tensor([[3] * 5 + [2] * 12, [-1] * 2 + [3] * 3 + [2] * 12]),
    }
    return Tiny(model, arguments)


JOYIMAGE = {
    "in_channels": 4, "out_channels": 4, "hidden_size": 16, "num_attention_heads": 2,
    "text_dim": 12, "mlp_width_ratio": 2.0, "num_layers": 3, "rope_dim_list": [4, 2, 2],
}  # fmt: skip


@tiny
def joyimage_edit() -> Tiny:
    model = diffusers.JoyImageEditTransformer3DModel(**JOYIMAGE)
    # What is to be edited, and what is made of it.
    pictures = rand(2, 2, 4, 1, 4, 6)
    return Tiny(model, {"hidden_states": pictures, "encoder_hidden_states": rand(2, 5, 12)})


@tiny
def joyimage_edit_plus() -> Tiny:
    model = diffusers.JoyImageEditPlusTransformer3DModel(**JOYIMAGE)
    arguments = {
        "hidden_states": rand(2, 10, 4, 1, 2, 2),
        "encoder_hidden_states": rand(2, 5, 12),
        "encoder_hidden_states_mask": torch.tensor([[1.0, 1, 1, 1, 1], [1.0, 1, 1, 0, 0]]),
        # Of one sample the reference is smaller.
        "shape_list": [[(1, 2, 3), (1, 2, 2)], [(1, 2, 3), (1, 1, 2)]],
    }
    return Tiny(model, arguments)


@tiny
def dreamlite() -> Tiny:
    """A part of a UNet, which tells it no time; with these norms it can be told one."""
    model = diffusers.DreamLiteTransformer2DModel(
        num_attention_heads=2, attention_head_dim=8, in_channels=16, num_layers=2,
        norm_num_groups=4, cross_attention_dim=12, num_embeds_ada_norm=10,
        norm_type="ada_norm_zero", norm_elementwise_affine=False, attention_type="default",
    )  # fmt: skip
    arguments = {
        "hidden_states": rand(2, 16, 4, 3),
        "encoder_hidden_states": rand(2, 5, 12),
        "class_labels": torch.tensor([1, 2]),
    }
    return Tiny(model, arguments)
