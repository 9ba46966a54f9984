"""Z-Image (Tongyi Lab, 2511.22699): single-stream blocks of image and text, in lists of tensors.

Few blocks of its own refine the noise, and few the text, before both go through the trunk. Serves
patches of 2, as published. Those blocks that refine SigLIP's tokens, in omni mode, always run.
"""

from typing import Any

import torch

from forecastcache.adapter import Adapter, Trunk
from forecastcache.memory.input_size import InputSize

MODULES = ("attention", "feed_forward")


def _inputs(config: Any, size: InputSize) -> dict[str, Any]:
    usual = 128 * size.squeeze
    rows, columns = size.pixels(usual, usual, patch=2 * size.squeeze)
    text = size.text(512)
    latent = torch.empty(size.batch, config.in_channels, 1, 2 * rows, 2 * columns)
    return {
        "x": list(latent.unbind(0)),
        "cap_feats": list(torch.empty(size.batch, text, config.cap_feat_dim).unbind(0)),
    }


Z_IMAGE = Adapter(
    name="z-image",
    models=("diffusers.ZImageTransformer2DModel",),
    time=("t",),
    trunk=(
        Trunk(path="noise_refiner", streams=("x",), modules=MODULES),
        Trunk(path="context_refiner", streams=("x",), modules=MODULES),
        Trunk(path="layers", streams=("x",), modules=MODULES),
    ),
    tail="all_final_layer.2-1",
    modulated="noise_refiner.0.adaLN_modulation",
    guidance="batched",
    inputs=_inputs,
)
