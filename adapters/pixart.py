"""PixArt-alpha and -Sigma: blocks of self-attention, cross-attention and MLP.

Chen et al., 2310.00426 and 2403.04692.
"""

from forecastcache.adapter import Adapter, Trunk
from forecastcache.adapters.layout import image_grid

PIXART = Adapter(
    name="pixart",
    models=("diffusers.PixArtTransformer2DModel",),
    trunk=(
        Trunk(
            path="transformer_blocks",
            streams=("hidden_states",),
            modules=("attn1", "attn2", "ff"),
        ),
    ),
    tail="norm_out",
    modulated="adaln_single",
    grid=image_grid,
    guidance="batched",
)
