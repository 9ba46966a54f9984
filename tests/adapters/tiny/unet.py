"""UNets, which make pictures, videos and sound."""

from __future__ import annotations

import diffusers
import torch

from .make import Tiny, rand, tiny


@tiny
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


@tiny
def unet_2d() -> Tiny:
    model = diffusers.UNet2DModel(
        sample_size=8, in_channels=3, out_channels=3, layers_per_block=1, norm_num_groups=4,
        block_out_channels=(8, 16), attention_head_dim=4, num_class_embeds=10,
        down_block_types=("DownBlock2D", "AttnDownBlock2D"),
        up_block_types=("AttnUpBlock2D", "UpBlock2D"),
    )  # fmt: skip
    return Tiny(model, {"sample": rand(2, 3, 8, 8), "class_labels": torch.tensor([1, 2])})


@tiny
def unet_1d() -> Tiny:
    model = diffusers.UNet1DModel(
        sample_size=16, in_channels=2, out_channels=2, extra_in_channels=64,
        block_out_channels=(32, 32), norm_num_groups=4,
        down_block_types=("DownBlock1DNoSkip", "AttnDownBlock1D"),
        up_block_types=("AttnUpBlock1D", "UpBlock1DNoSkip"),
    )  # fmt: skip
    return Tiny(model, {"sample": rand(2, 2, 16)})


@tiny
def audioldm2() -> Tiny:
    model = diffusers.AudioLDM2UNet2DConditionModel(
        sample_size=8, in_channels=4, out_channels=4, layers_per_block=1, norm_num_groups=4,
        block_out_channels=(8, 16), attention_head_dim=4,
        cross_attention_dim=((None, 12, 14),) * 2,
        down_block_types=("DownBlock2D", "CrossAttnDownBlock2D"),
        up_block_types=("CrossAttnUpBlock2D", "UpBlock2D"),
    )  # fmt: skip
    arguments = {
        "sample": rand(2, 4, 8, 8),
        "encoder_hidden_states": rand(2, 5, 12),
        "encoder_hidden_states_1": rand(2, 3, 14),
    }
    return Tiny(model, arguments)


@tiny
def dreamlite_unet() -> Tiny:
    model = diffusers.DreamLiteUNetModel(
        sample_size=8, in_channels=4, out_channels=4, layers_per_block=1, norm_num_groups=4,
        block_out_channels=(16, 32), attention_head_dim=8, cross_attention_dim=12, ff_mult=2,
        down_block_types=(
            "DreamLiteCrossAttnNoSelfAttnDownBlock2D", "DreamLiteCrossAttnDownBlock2D",
        ),
        up_block_types=("DreamLiteCrossAttnUpBlock2D", "DreamLiteUpBlock2D"),
    )  # fmt: skip
    arguments = {"sample": rand(2, 4, 8, 8), "encoder_hidden_states": rand(2, 5, 12)}
    return Tiny(model, arguments)


@tiny
def kandinsky3() -> Tiny:
    model = diffusers.Kandinsky3UNet(
        in_channels=4, time_embedding_dim=8, groups=4, attention_head_dim=8, layers_per_block=3,
        block_out_channels=(16, 32), cross_attention_dim=12, encoder_hid_dim=12,
    )  # fmt: skip
    arguments = {
        "sample": rand(2, 4, 8, 8),
        "encoder_hidden_states": rand(2, 5, 12),
        "encoder_attention_mask": torch.ones(2, 5),
    }
    return Tiny(model, arguments)


@tiny
def stable_cascade() -> Tiny:
    """The decoder's, which is given what the prior has made."""
    model = diffusers.StableCascadeUNet(
        in_channels=4, out_channels=4, timestep_ratio_embedding_dim=8, patch_size=2,
        conditioning_dim=8, block_out_channels=(8, 16), num_attention_heads=(-1, 2),
        down_num_layers_per_block=(1, 1), up_num_layers_per_block=(1, 1),
        block_types_per_layer=(
            ("SDCascadeResBlock", "SDCascadeTimestepBlock"),
            ("SDCascadeResBlock", "SDCascadeTimestepBlock", "SDCascadeAttnBlock"),
        ),
        clip_text_pooled_in_channels=10, effnet_in_channels=6, pixel_mapper_in_channels=3,
        self_attn=(False, True), timestep_conditioning_type=("sca",),
    )  # fmt: skip
    arguments = {
        "sample": rand(2, 4, 8, 8),
        "timestep_ratio": torch.ones(2),
        "clip_text_pooled": rand(2, 1, 10),
        "effnet": rand(2, 6, 3, 3),
    }
    return Tiny(model, arguments, other={"clip_text_pooled": -arguments["clip_text_pooled"]})


@tiny
def stable_cascade_prior() -> Tiny:
    model = diffusers.StableCascadeUNet(
        in_channels=4, out_channels=4, timestep_ratio_embedding_dim=8, patch_size=1,
        conditioning_dim=8, block_out_channels=(8, 16), num_attention_heads=(2, 2),
        down_num_layers_per_block=(1, 1), up_num_layers_per_block=(1, 1),
        switch_level=(False,), clip_text_in_channels=12, clip_text_pooled_in_channels=10,
        clip_image_in_channels=6,
    )  # fmt: skip
    arguments = {
        "sample": rand(2, 4, 6, 6),
        "timestep_ratio": torch.ones(2),
        "clip_text_pooled": rand(2, 1, 10),
        "clip_text": rand(2, 5, 12),
        "clip_img": rand(2, 1, 6),
    }
    return Tiny(model, arguments, other={"clip_text": -arguments["clip_text"]})


VIDEO = {
    "sample_size": 8, "in_channels": 4, "out_channels": 4, "layers_per_block": 1,
    "block_out_channels": (8, 16), "cross_attention_dim": 12,
}  # fmt: skip
BLOCKS_3D = {
    "down_block_types": ("DownBlock3D", "CrossAttnDownBlock3D"),
    "up_block_types": ("CrossAttnUpBlock3D", "UpBlock3D"),
}


@tiny
def unet_3d() -> Tiny:
    model = diffusers.UNet3DConditionModel(
        **VIDEO, **BLOCKS_3D, norm_num_groups=4, attention_head_dim=4
    )
    arguments = {"sample": rand(2, 4, 3, 8, 8), "encoder_hidden_states": rand(2, 5, 12)}
    return Tiny(model, arguments)


@tiny
def i2vgen_xl() -> Tiny:
    model = diffusers.I2VGenXLUNet(**VIDEO, **BLOCKS_3D, norm_num_groups=4, attention_head_dim=4)
    arguments = {
        "sample": rand(2, 4, 3, 8, 8),
        "fps": torch.tensor([8, 8]),
        "image_latents": rand(2, 4, 3, 8, 8),
        "image_embeddings": rand(2, 12),
        "encoder_hidden_states": rand(2, 5, 12),
    }
    return Tiny(model, arguments)


@tiny
def animatediff() -> Tiny:
    model = diffusers.UNetMotionModel(
        **VIDEO, norm_num_groups=4, num_attention_heads=2, motion_num_attention_heads=2,
        motion_max_seq_length=4, down_block_types=("DownBlockMotion", "CrossAttnDownBlockMotion"),
        up_block_types=("CrossAttnUpBlockMotion", "UpBlockMotion"),
    )  # fmt: skip
    arguments = {"sample": rand(2, 4, 3, 8, 8), "encoder_hidden_states": rand(6, 5, 12)}
    return Tiny(model, arguments)


@tiny
def stable_video_diffusion() -> Tiny:
    model = diffusers.UNetSpatioTemporalConditionModel(
        **VIDEO | {"in_channels": 8, "block_out_channels": (32, 64)}, num_attention_heads=(2, 4),
        addition_time_embed_dim=4, projection_class_embeddings_input_dim=12, num_frames=3,
        down_block_types=("DownBlockSpatioTemporal", "CrossAttnDownBlockSpatioTemporal"),
        up_block_types=("CrossAttnUpBlockSpatioTemporal", "UpBlockSpatioTemporal"),
    )  # fmt: skip
    arguments = {
        "sample": rand(2, 3, 8, 8, 8),
        "encoder_hidden_states": rand(2, 1, 12),
        "added_time_ids": torch.tensor([[6.0, 127.0, 0.02]] * 2),
    }
    return Tiny(model, arguments)
