"""Nucleus-Image: blocks of the image with experts, which attend to the text as it was given."""

from collections.abc import Mapping
from typing import Any

from forecastcache.adapter import Adapter, Skip, Trunk


def _grid(given: Mapping[str, Any], config: Any) -> tuple[int, ...]:
    frames, height, width = given["img_shapes"][0]
    return frames, height, width


NUCLEUSMOE_IMAGE = Adapter(
    name="nucleusmoe-image",
    models=("diffusers.NucleusMoEImageTransformer2DModel",),
    trunk=(
        Trunk(
            path="transformer_blocks",
            streams=("hidden_states",),
            modules=("attn", "img_mlp"),
            skipped=(Skip("encoder_proj"),),
        ),
    ),
    tail="norm_out",
    modulated="transformer_blocks.0.img_mod",
    grid=_grid,
)
