"""Lumina-Image 2.0: single-stream blocks of image and text (Qin et al., 2503.21758).

Few blocks of its own refine the text, and few the noise, before both go through the trunk.
"""

from forecastcache.adapter import Adapter, Trunk

MODULES = ("attn", "feed_forward")

LUMINA2 = Adapter(
    name="lumina2",
    models=("diffusers.Lumina2Transformer2DModel",),
    trunk=(
        # Runs second, named first: adaptive schedules look at the first block, and this one
        # changes with time.
        Trunk(path="noise_refiner", streams=("hidden_states",), modules=MODULES),
        Trunk(path="context_refiner", streams=("hidden_states",), modules=MODULES),
        Trunk(path="layers", streams=("hidden_states",), modules=MODULES),
    ),
    tail="norm_out",
    modulated="noise_refiner.0.norm1",
)
