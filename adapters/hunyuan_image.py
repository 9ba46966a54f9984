"""HunyuanImage 2.1 (Tencent): double-stream blocks of image and text, then single-stream ones."""

from collections.abc import Mapping
from typing import Any

from forecastcache.adapter import Adapter
from forecastcache.adapters.hunyuan_video import HUNYUAN_VIDEO


def _grid(given: Mapping[str, Any], config: Any) -> tuple[int, ...]:
    patch = config.patch_size
    sides = given["hidden_states"].shape[-len(patch) :]
    return tuple(side // each for side, each in zip(sides, patch, strict=True))


HUNYUAN_IMAGE = Adapter(
    name="hunyuan-image",
    models=("diffusers.HunyuanImageTransformer2DModel",),
    trunk=HUNYUAN_VIDEO.trunk,
    tail="norm_out",
    modulated="transformer_blocks.0.norm1",
    grid=_grid,
)
