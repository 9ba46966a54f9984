"""OmniGen: a language model's blocks, with the time as a token (Xiao et al., 2409.11340)."""

from forecastcache.adapter import Adapter, Trunk
from forecastcache.adapters.layout import image_grid

OMNIGEN = Adapter(
    name="omnigen",
    models=("diffusers.OmniGenTransformer2DModel",),
    trunk=(
        Trunk(
            path="layers",
            streams=("hidden_states",),
            modules=("self_attn", "mlp"),
        ),
    ),
    tail="norm_out",
    modulated="time_token",
    grid=image_grid,
    guidance="batched",
)
