"""Motif-Video: double-stream blocks of video and text, then single-stream ones.

The last single-stream blocks may be a decoder, where the encoder's video takes the text's place.
"""

from forecastcache.adapter import Adapter, Skip, Trunk
from forecastcache.adapters.hunyuan_video import HUNYUAN_VIDEO

MOTIF_VIDEO = Adapter(
    name="motif-video",
    models=("diffusers.MotifVideoTransformer3DModel",),
    trunk=(
        Trunk(
            path="transformer_blocks",
            streams=("hidden_states", "encoder_hidden_states"),
            modules=("attn", "cross_attn", "ff", "ff_context"),
        ),
        Trunk(
            path="single_transformer_blocks",
            streams=("hidden_states", "encoder_hidden_states"),
            modules=("proj_out",),
            skipped=(
                Skip("attn", ("hidden_states", "encoder_hidden_states")),
                Skip("cross_attn"),
                Skip("proj_mlp"),
                Skip("act_mlp"),
            ),
        ),
    ),
    tail="norm_out",
    modulated="transformer_blocks.0.norm1",
    grid=HUNYUAN_VIDEO.grid,
)
