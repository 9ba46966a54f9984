"""UNets."""

from __future__ import annotations

import diffusers

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
