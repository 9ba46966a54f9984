"""How the tokens of an image lie, for models whose sample is one."""

from collections.abc import Mapping
from typing import Any


def image_grid(given: Mapping[str, Any], config: Any) -> tuple[int, ...]:
    """(height, width) in tokens, of latents `(batch, channels, height, width)`."""
    height, width = given["hidden_states"].shape[-2:]
    return height // config.patch_size, width // config.patch_size
