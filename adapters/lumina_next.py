"""Lumina-Next: blocks whose two attentions share a projection (Zhuo et al., 2406.18583).

Has no `module`: self- and cross-attention return heads apart, which the block mixes and projects.
"""

from forecastcache.adapter import Adapter, Trunk
from forecastcache.adapters.layout import image_grid

LUMINA_NEXT = Adapter(
    name="lumina-next",
    models=("diffusers.LuminaNextDiT2DModel",),
    trunk=(Trunk(path="layers", streams=("hidden_states",), modules=()),),
    tail="norm_out",
    modulated="layers.0.norm1",
    grid=image_grid,
    guidance="batched",
)
