"""CogView3-Plus and CogView4: double-stream blocks of image and text (2403.05121).

Their one MLP a block serves both streams: in one turn, or, in CogView4, in two.
"""

from dataclasses import replace

from forecastcache.adapter import Adapter, Trunk
from forecastcache.adapters.layout import image_grid

COGVIEW4 = Adapter(
    name="cogview4",
    models=("diffusers.CogView4Transformer2DModel",),
    trunk=(
        Trunk(
            path="transformer_blocks",
            streams=("hidden_states", "encoder_hidden_states"),
            modules=("attn1", "ff"),
        ),
    ),
    tail="norm_out",
    modulated="transformer_blocks.0.norm1",
    grid=image_grid,
)

COGVIEW3_PLUS = replace(
    COGVIEW4,
    name="cogview3-plus",
    models=("diffusers.CogView3PlusTransformer2DModel",),
    guidance="batched",
)
