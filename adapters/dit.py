"""DiT, class-conditional (Peebles and Xie, 2212.09748)."""

from collections.abc import Mapping
from typing import Any

from forecastcache.adapter import Adapter, Trunk


def _grid(given: Mapping[str, Any], config: Any) -> tuple[int, ...]:
    height, width = given["hidden_states"].shape[-2:]
    return height // config.patch_size, width // config.patch_size


DIT = Adapter(
    name="dit",
    models=("diffusers.DiTTransformer2DModel",),
    trunk=(
        Trunk(
            path="transformer_blocks",
            streams=("hidden_states",),
            modules=("attn1", "ff"),
        ),
    ),
    tail="norm_out",
    grid=_grid,
)
