"""Models with the blocks of FLUX: Bria, FIBO, LongCat-Image (2512.07584) and Ovis-Image."""

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from forecastcache.adapter import Skip
from forecastcache.adapters.flux import FLUX


def _grid(given: Mapping[str, Any], config: Any) -> tuple[int, ...]:
    ids = given["img_ids"]
    # Rows and columns begin after the text; what is to be edited has other first coordinates.
    places = ids[ids[:, 0] == ids[0, 0], 1:]
    height, width = (places.amax(0) - places.amin(0)).int().tolist()
    return height + 1, width + 1


DOUBLE, SINGLE = FLUX.trunk

BRIA = replace(
    FLUX,
    name="bria",
    models=("diffusers.BriaTransformer2DModel",),
    guidance="batched",
    inputs=None,
)

BRIA_FIBO = replace(
    BRIA,
    name="bria-fibo",
    models=("diffusers.BriaFiboTransformer2DModel",),
    # Text and image in one, parted between blocks to let in another layer of the text encoder.
    trunk=(DOUBLE, replace(SINGLE, streams=("hidden_states",))),
)

LONGCAT_IMAGE = replace(
    FLUX,
    name="longcat-image",
    models=("diffusers.LongCatImageTransformer2DModel",),
    grid=_grid,
    guidance="sequential",
    inputs=None,
)

OVIS_IMAGE = replace(
    FLUX,
    name="ovis-image",
    models=("diffusers.OvisImageTransformer2DModel",),
    trunk=(
        DOUBLE,
        replace(SINGLE, skipped=(Skip("attn"), Skip("proj_mlp", wide=True), Skip("act_mlp"))),
    ),
    guidance="sequential",
    inputs=None,
)
