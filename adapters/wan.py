"""Wan 2.1 and 2.2: video blocks of self-attention, cross-attention and MLP (2503.20314)."""

from collections.abc import Mapping
from typing import Any

from forecastcache.adapter import Adapter, Trunk


def _grid(given: Mapping[str, Any], config: Any) -> tuple[int, ...]:
    frames, height, width = given["hidden_states"].shape[-3:]
    patch_frames, patch_height, patch_width = config.patch_size
    return frames // patch_frames, height // patch_height, width // patch_width


WAN = Adapter(
    name="wan",
    models=("diffusers.WanTransformer3DModel",),
    trunk=(
        Trunk(
            path="blocks",
            streams=("hidden_states",),
            modules=("attn1", "attn2", "ffn"),
        ),
    ),
    tail="norm_out",
    grid=_grid,
)
