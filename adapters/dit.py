"""DiT, class-conditional (Peebles and Xie, 2212.09748)."""

from forecastcache.adapter import Adapter, Trunk

DIT = Adapter(
    name="dit",
    models=("diffusers.DiTTransformer2DModel",),
    trunk=(
        Trunk(
            path="transformer_blocks",
            streams=("hidden_states",),
            modules=("attn1", "ff"),
        ),
    ),
    tail="norm_out",
)
