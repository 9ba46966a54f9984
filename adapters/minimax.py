"""MiniMax Music 3 and MiniMax-H3: blocks of self-attention and MLP over one sequence.

H3's sequence holds the rows of text, sound and video of one layout, which a batch repeats. Given
rows of sound have a time of 1, the largest, so there `coordinate="time"` tells no steps apart.
"""

from forecastcache.adapter import Adapter, Skip, Trunk

MINIMAX_MUSIC3 = Adapter(
    name="minimax-music3",
    models=("diffusers.MiniMaxMusic3Transformer1DModel",),
    trunk=(
        Trunk(
            path="transformer_blocks",
            streams=("hidden_states",),
            modules=("attn", "ff_out"),
            skipped=(Skip("ff_in"),),
        ),
    ),
    tail="proj_out",
    modulated="time_embed",
)
MINIMAX_H3 = Adapter(
    name="minimax-h3",
    models=("diffusers.MiniMaxH3Transformer3DModel",),
    trunk=(
        Trunk(
            path="transformer_blocks",
            streams=("hidden_states",),
            modules=("attn", "ff"),
        ),
    ),
    tail="norm_out",
    modulated="transformer_blocks.0.adaln_proj",
    guidance="embedded",
    shared=(
        "timestep",
        "timestep_indices",
        "token_tags",
        "position_ids",
        "video_indices",
        "audio_indices",
        "text_indices",
    ),
)
