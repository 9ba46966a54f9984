"""Sana: linear attention, cross-attention and a convolutional MLP (Xie et al., 2410.10629)."""

from forecastcache.adapter import Adapter, Trunk
from forecastcache.adapters.layout import image_grid

SANA = Adapter(
    name="sana",
    models=("diffusers.SanaTransformer2DModel",),
    trunk=(
        Trunk(
            path="transformer_blocks",
            streams=("hidden_states",),
            modules=("attn1", "attn2", "ff"),
        ),
    ),
    tail="norm_out",
    modulated="time_embed",
    grid=image_grid,
    guidance="batched",
)
