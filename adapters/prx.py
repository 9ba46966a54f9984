"""PRX (Photoroom): blocks of the image, which attend to the text as it was given."""

from forecastcache.adapter import Adapter, Skip, Trunk
from forecastcache.adapters.layout import image_grid

PRX = Adapter(
    name="prx",
    models=("diffusers.PRXTransformer2DModel",),
    trunk=(
        Trunk(
            path="blocks",
            streams=("hidden_states",),
            modules=("attention", "down_proj"),
            skipped=(Skip("gate_proj"), Skip("mlp_act"), Skip("up_proj")),
        ),
    ),
    tail="final_layer",
    modulated="blocks.0.modulation",
    grid=image_grid,
    guidance="batched",
)
