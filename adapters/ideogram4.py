"""Ideogram 4: single-stream blocks of text and image; its time rises from 0 to 1."""

from forecastcache.adapter import Adapter, Trunk

IDEOGRAM4 = Adapter(
    name="ideogram4",
    models=("diffusers.Ideogram4Transformer2DModel",),
    trunk=(
        Trunk(
            path="layers",
            streams=("hidden_states",),
            modules=("attention", "feed_forward"),
        ),
    ),
    tail="final_layer",
    modulated="layers.0.adaln_modulation",
)
