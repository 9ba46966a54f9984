"""Qwen-Image: double-stream blocks of image and text (Wu et al., 2508.02324)."""

from collections.abc import Mapping
from typing import Any

from forecastcache.adapter import Adapter, Trunk


def _grid(given: Mapping[str, Any], config: Any) -> tuple[int, ...]:
    frames, height, width = given["img_shapes"][0][0]
    return frames, height, width


QWEN_IMAGE = Adapter(
    name="qwen-image",
    models=("diffusers.QwenImageTransformer2DModel",),
    trunk=(
        Trunk(
            path="transformer_blocks",
            streams=("encoder_hidden_states", "hidden_states"),
            modules=("attn", "img_mlp", "txt_mlp"),
        ),
    ),
    tail="norm_out",
    grid=_grid,
)
