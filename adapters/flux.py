"""FLUX.1 (Black Forest Labs): double-stream blocks of image and text, then single-stream ones."""

from collections.abc import Mapping
from typing import Any

from forecastcache.adapter import Adapter, Skip, Trunk


def _grid(given: Mapping[str, Any], config: Any) -> tuple[int, ...]:
    height, width = given["img_ids"][..., 1:].flatten(0, -2).amax(0).int().tolist()
    return height + 1, width + 1


FLUX = Adapter(
    name="flux",
    models=("diffusers.FluxTransformer2DModel",),
    trunk=(
        Trunk(
            path="transformer_blocks",
            streams=("encoder_hidden_states", "hidden_states"),
            modules=("attn", "ff", "ff_context"),
        ),
        Trunk(
            path="single_transformer_blocks",
            streams=("encoder_hidden_states", "hidden_states"),
            modules=("proj_out",),
            skipped=(Skip("attn"), Skip("proj_mlp"), Skip("act_mlp")),
        ),
    ),
    tail="norm_out",
    grid=_grid,
)
