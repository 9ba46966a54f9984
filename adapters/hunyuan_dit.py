"""Hunyuan-DiT: self-attention, cross-attention and MLP, with long skips (Li et al., 2405.08748).

With a ControlNet `hidden` is refused by the model itself, which asks that its blocks use it up.
"""

from forecastcache.adapter import Adapter, Trunk
from forecastcache.adapters.layout import image_grid

HUNYUAN_DIT = Adapter(
    name="hunyuan-dit",
    models=("diffusers.HunyuanDiT2DModel",),
    trunk=(
        Trunk(
            path="blocks",
            streams=("hidden_states",),
            modules=("attn1", "attn2", "ff"),
            chained=False,
        ),
    ),
    tail="norm_out",
    modulated="blocks.0.norm1",
    grid=image_grid,
    guidance="batched",
)
