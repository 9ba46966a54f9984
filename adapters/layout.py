"""How the tokens of an image or a video lie, for models whose sample is one."""

from collections.abc import Mapping
from typing import Any


def image_grid(given: Mapping[str, Any], config: Any) -> tuple[int, ...]:
    """(height, width) in tokens, of latents `(batch, channels, height, width)`."""
    height, width = given["hidden_states"].shape[-2:]
    return height // config.patch_size, width // config.patch_size


def video_grid(given: Mapping[str, Any], config: Any) -> tuple[int, ...]:
    """(frames, height, width) in tokens, of latents `(batch, channels, frames, height, width)`."""
    frames, height, width = given["hidden_states"].shape[-3:]
    frames //= getattr(config, "patch_size_t", 1)
    return frames, height // config.patch_size, width // config.patch_size
