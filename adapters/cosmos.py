"""Cosmos Predict and Transfer: blocks of self-attention, cross-attention and MLP (2501.03575)."""

from forecastcache.adapter import Adapter, Trunk
from forecastcache.adapters.wan import WAN

COSMOS = Adapter(
    name="cosmos",
    models=("diffusers.CosmosTransformer3DModel",),
    trunk=(
        Trunk(
            path="transformer_blocks",
            streams=("hidden_states",),
            modules=("attn1", "attn2", "ff"),
        ),
    ),
    tail="norm_out",
    modulated="transformer_blocks.0.norm1",
    grid=WAN.grid,
)
