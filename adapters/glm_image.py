"""GLM-Image: double-stream blocks of image and text, with one MLP that runs for each of them."""

from forecastcache.adapter import Adapter, Trunk
from forecastcache.adapters.layout import image_grid

GLM_IMAGE = Adapter(
    name="glm-image",
    models=("diffusers.GlmImageTransformer2DModel",),
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
