"""GLM-Image: double-stream blocks of image and text.

It has no site `module`, since a block calls its one MLP twice, for the image and for the text.
"""

from forecastcache.adapter import Adapter, Trunk
from forecastcache.adapters.layout import image_grid

GLM_IMAGE = Adapter(
    name="glm-image",
    models=("diffusers.GlmImageTransformer2DModel",),
    trunk=(
        Trunk(
            path="transformer_blocks",
            streams=("hidden_states", "encoder_hidden_states"),
            modules=(),
        ),
    ),
    tail="norm_out",
    modulated="transformer_blocks.0.norm1",
    grid=image_grid,
)
