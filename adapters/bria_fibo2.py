"""FIBO 2 (Bria): single-stream blocks of gist tokens and image, after two of the image alone.

The gist tokens, made of the text, are made anew at every call: no time reaches them.
"""

from forecastcache.adapter import Adapter, Trunk
from forecastcache.adapters.layout import image_grid

BRIA_FIBO2 = Adapter(
    name="bria-fibo2",
    models=("diffusers.BriaFibo2Transformer2DModel",),
    trunk=(
        Trunk(
            path="noise_refiner",
            streams=("x",),
            modules=("attention", "feed_forward"),
        ),
        Trunk(
            path="layers",
            streams=("x",),
            modules=("attention", "cross_attention", "feed_forward"),
        ),
    ),
    tail="final_layer",
    modulated="noise_refiner.0.adaLN_modulation",
    grid=image_grid,
)
