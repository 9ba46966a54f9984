"""Images: every sample of a run as a file of its own."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from torch import Tensor

from forecastcache._util.atomic_write import atomic_write
from forecastcache.errors import OptionError
from forecastcache.evaluation.image_files import as_image, save_gif


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
            if clips:
                save_gif([as_image(frame) for frame in sample], path)
            else:
                with atomic_write(path) as partial:
                    as_image(sample).save(partial, "PNG")
            saved.append(path)
    except OSError as error:
        raise OptionError(
            f"--save-images {folder} cannot be written ({error.strerror}): give another folder"
        ) from None
    return saved
