"""How the tokens of an image or a video lie, for models whose sample is one."""

from collections.abc import Mapping
from typing import Any

from forecastcache.memory.input_size import InputSize


def image_grid(given: Mapping[str, Any], config: Any) -> tuple[int, ...]:
    """(height, width) in tokens, of latents `(batch, channels, height, width)`."""
    height, width = given["hidden_states"].shape[-2:]
    return height // config.patch_size, width // config.patch_size


def video_grid(given: Mapping[str, Any], config: Any) -> tuple[int, ...]:
    """(frames, height, width) in tokens, of latents `(batch, channels, frames, height, width)`."""
    frames, height, width = given["hidden_states"].shape[-3:]
    frames //= getattr(config, "patch_size_t", 1)
    return frames, height // config.patch_size, width // config.patch_size


def grid_of_ids(given: Mapping[str, Any], config: Any) -> tuple[int, ...]:
    """(height, width) in tokens, of positions `img_ids`: image, row, column, and maybe more."""
    ids = given["img_ids"].flatten(0, -2)
    # What an editing pipeline appends to look at has other first coordinates.
    height, width = ids[ids[:, 0] == 0, 1:3].amax(0).int().tolist()
    return height + 1, width + 1


def packed_sides(size: InputSize) -> tuple[int, int]:
    """(height, width) in tokens of a picture whose latents are packed two by two, as in FLUX."""
    usual = 128 * size.squeeze
    return size.rounded_pixels(usual, usual, patch=2 * size.squeeze)
