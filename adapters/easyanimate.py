"""EasyAnimate: double-stream blocks of video and text (Xu et al., 2405.18991).

Later blocks may run one MLP for both streams, in two turns (`mmdit_layers` below `num_layers`).
"""

from forecastcache.adapter import Adapter, Trunk
from forecastcache.adapters.layout import video_grid

EASYANIMATE = Adapter(
    name="easyanimate",
    models=("diffusers.EasyAnimateTransformer3DModel",),
    trunk=(
        Trunk(
            path="transformer_blocks",
            streams=("hidden_states", "encoder_hidden_states"),
            modules=("attn1", "ff", "txt_ff"),
        ),
    ),
    tail="norm_final",
    modulated="transformer_blocks.0.norm1",
    grid=video_grid,
    guidance="batched",
)
