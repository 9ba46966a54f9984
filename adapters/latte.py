"""Latte: blocks that attend within a frame, and among frames, in turn (Ma et al., 2401.03048)."""

from forecastcache.adapter import Adapter, Trunk

LATTE = Adapter(
    name="latte",
    models=("diffusers.LatteTransformer3DModel",),
    trunk=(
        Trunk(
            path="transformer_blocks",
            streams=("hidden_states",),
            modules=("attn1", "attn2", "ff"),
            chained=False,
        ),
        Trunk(
            path="temporal_transformer_blocks",
            streams=("hidden_states",),
            modules=("attn1", "ff"),
            chained=False,
        ),
    ),
    tail="norm_out",
    modulated="adaln_single",
    guidance="batched",
)
