"""AuraFlow (fal): double-stream blocks of image and text, then single-stream ones."""

from forecastcache.adapter import Adapter, Trunk
from forecastcache.adapters.layout import image_grid

AURAFLOW = Adapter(
    name="auraflow",
    models=("diffusers.AuraFlowTransformer2DModel",),
    trunk=(
        Trunk(
            path="joint_transformer_blocks",
            streams=("encoder_hidden_states", "hidden_states"),
            modules=("attn", "ff", "ff_context"),
        ),
        Trunk(
            path="single_transformer_blocks",
            streams=("hidden_states",),
            modules=("attn", "ff"),
        ),
    ),
    tail="norm_out",
    modulated="joint_transformer_blocks.0.norm1",
    grid=image_grid,
    guidance="batched",
)
