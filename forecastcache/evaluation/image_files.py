"""Image files: samples as images, and clips as GIF."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from PIL import Image
from torch import Tensor

from forecastcache._util.atomic_write import atomic_write

MILLISECONDS = 120  # that a frame is shown


def as_image(picture: Tensor) -> Image.Image:
    """A picture in [0, 1], `(3, h, w)` or `(1, h, w)`, as an image."""
    coloured = picture.expand(3, -1, -1).movedim(0, -1)
    return Image.fromarray((coloured * 255).round().byte().numpy())


def save_gif(frames: Sequence[Image.Image], path: Path) -> None:
    """Save frames as a GIF that plays without end, in full or not at all."""
    with atomic_write(path) as partial:
        frames[0].save(
            partial, "GIF", save_all=True, append_images=frames[1:], duration=MILLISECONDS, loop=0
        )
