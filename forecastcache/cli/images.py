"""Images: every sample of a run as a file of its own."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from PIL import Image
from torch import Tensor

from forecastcache._util.atomic_write import atomic_write
from forecastcache.errors import OptionError

MILLISECONDS = 120  # that a frame is shown


def save_each(samples: Tensor, seeds: Sequence[int], kind: str, folder: Path) -> list[Path]:
    """Save samples one by one; gives their paths.

    Args:
        samples: pictures `(n, 3, h, w)`, saved as PNG, or clips `(n, frames, 3, h, w)`, as GIF.
        seeds: seed of each.
        kind: last part of the files' names, such as `plain`.
        folder: folder that they are written to.

    Raises:
        OptionError: it cannot be written to.
    """
    clips = samples.dim() == 5
    saved = []
    try:
        folder.mkdir(parents=True, exist_ok=True)
        for index, (sample, seed) in enumerate(zip(samples, seeds)):
            path = folder / f"{index:03d}-seed-{seed}-{kind}.{'gif' if clips else 'png'}"
            frames = [_image(frame) for frame in (sample if clips else sample[None])]
            with atomic_write(path) as partial:
                if clips:
                    frames[0].save(
                        partial, "GIF", save_all=True, append_images=frames[1:],
                        duration=MILLISECONDS, loop=0,
                    )  # fmt: skip
                else:
                    frames[0].save(partial, "PNG")
            saved.append(path)
    except OSError as error:
        raise OptionError(
            f"--save-images {folder} cannot be written ({error.strerror}): give another folder"
        ) from None
    return saved


def _image(picture: Tensor) -> Image.Image:
    coloured = picture.expand(3, -1, -1).movedim(0, -1)
    return Image.fromarray((coloured * 255).round().byte().numpy())
