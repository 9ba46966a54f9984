"""Allegro: video blocks of self-attention, cross-attention and MLP (Zhou et al., 2410.15458)."""

from forecastcache.adapter import Adapter, Trunk
from forecastcache.adapters.layout import video_grid

ALLEGRO = Adapter(
    name="allegro",
    models=("diffusers.AllegroTransformer3DModel",),
    trunk=(
        Trunk(
            path="transformer_blocks",
            streams=("hidden_states",),
            modules=("attn1", "attn2", "ff"),
        ),
    ),
    tail="norm_out",
    modulated="adaln_single",
    grid=video_grid,
    guidance="batched",
)
