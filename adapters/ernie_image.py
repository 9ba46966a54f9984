"""ERNIE-Image: single-stream blocks of image and text, tokens before samples in their shapes."""

from forecastcache.adapter import Adapter, Trunk

ERNIE_IMAGE = Adapter(
    name="ernie-image",
    models=("diffusers.ErnieImageTransformer2DModel",),
    trunk=(
        Trunk(
            path="layers",
            streams=("x",),
            modules=("self_attention", "mlp"),
        ),
    ),
    tail="final_norm",
    modulated="adaLN_modulation",
    guidance="batched",
)
