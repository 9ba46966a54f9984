"""AnyFlow, whole videos and chunk by chunk: the blocks of Wan, told two times (2605.13724).

A chunk's call returns the keys and values of earlier chunks beside its sample, so `output` keeps
those too; the other sites do not. Each chunk is a trajectory.
"""

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from forecastcache.adapters.wan import WAN


def _grid(given: Mapping[str, Any], config: Any) -> tuple[int, ...]:
    frames, _, height, width = given["hidden_states"].shape[-4:]
    patch_frames, patch_height, patch_width = config.patch_size
    return frames // patch_frames, height // patch_height, width // patch_width


ANYFLOW = replace(
    WAN,
    name="anyflow",
    models=("diffusers.AnyFlowTransformer3DModel",),
    grid=_grid,
    guidance="batched",
    inputs=None,
)
ANYFLOW_FAR = replace(
    ANYFLOW,
    name="anyflow-far",
    models=("diffusers.AnyFlowFARTransformer3DModel",),
    grid=None,  # distant frames are in fewer tokens
    chunked=True,
)
