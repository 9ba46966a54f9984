"""Krea 2: single-stream blocks of text and image, all modulated by one projection of the time."""

from forecastcache.adapter import Adapter, Trunk

KREA2 = Adapter(
    name="krea2",
    models=("diffusers.Krea2Transformer2DModel",),
    trunk=(
        Trunk(
            path="transformer_blocks",
            streams=("hidden_states",),
            modules=("attn", "ff"),
        ),
    ),
    tail="final_layer",
    modulated="time_mod_proj",
)
