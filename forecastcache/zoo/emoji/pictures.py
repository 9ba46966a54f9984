"""Emoji drawn on coloured backgrounds, leaning or upright, a little larger, smaller and shifted.

The pictures are Google's Noto Emoji (Apache-2.0), 64 pixels wide, as the npm package
emoji-datasource-google carries them.
"""

from __future__ import annotations

import math
import os
from collections.abc import Iterator
from dataclasses import dataclass, fields
from functools import cache
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from torch import Tensor
from torch.nn import functional as F

from forecastcache.errors import MissingDataError
from forecastcache.zoo import data
from forecastcache.zoo.emoji.captions import Scene, scenes
from forecastcache.zoo.emoji.names import known

SIZE = 64
PACKAGE = "emoji-datasource-google"
VERSION = "16.0.0"
VARIABLE = "FORECASTCACHE_EMOJI"  # environment variable that says where the package lies
LEAN = math.radians(22)  # of a tilted emoji
WOBBLE = math.radians(4)  # by which every emoji may be turned without a word
SCALES = (0.76, 0.9)  # 1 fills the picture
SHIFT = 3.0  # pixels, either way
MIRRORED = 0.3  # share, of the emoji that may be


@dataclass(frozen=True)
class Drawings:
    """Emoji as they are to be drawn; every field is `(n,)`.

    Attributes:
        emoji: index into `names.known()`.
        background: index into `data.BACKGROUNDS`.
        tilt: index into `captions.TILTS`.
        turn: turn to the right beyond the tilt, in radians.
        scale: width of the emoji; 1 fills the picture.
        right: shift to the right, in pixels.
        down: shift down, in pixels.
        mirrored: whether left and right are exchanged.
    """

    emoji: Tensor
    background: Tensor
    tilt: Tensor
    turn: Tensor
    scale: Tensor
    right: Tensor
    down: Tensor
    mirrored: Tensor

    def __len__(self) -> int:
        return len(self.emoji)

    def __getitem__(self, pick: Tensor | slice) -> Drawings:
        return Drawings(*(getattr(self, field.name)[pick] for field in fields(self)))

    def scenes(self) -> list[Scene]:
        """What each one's caption can say."""
        parts = (self.emoji.tolist(), self.background.tolist(), self.tilt.tolist())
        return [Scene(*row) for row in zip(*parts)]

    def draw(self) -> Tensor:
        """Pictures `(n, 3, 64, 64)` in [-1, 1].

        Raises:
            MissingDataError: the package with the pictures is missing.
        """
        coloured = originals()[self.emoji].float() / 255
        angle = self.turn + LEAN * (self.tilt - 1)
        flip = 1 - 2 * self.mirrored.float()
        cos, sin = angle.cos() / self.scale, angle.sin() / self.scale
        right, down = self.right / (SIZE / 2), self.down / (SIZE / 2)
        # From a pixel of the picture to the place in the original that it shows.
        across = torch.stack([cos * flip, sin * flip, -(cos * right + sin * down) * flip], 1)
        along = torch.stack([-sin, cos, sin * right - cos * down], 1)
        grid = F.affine_grid(
            torch.stack([across, along], 1), list(coloured.shape), align_corners=False
        )
        drawn = F.grid_sample(coloured, grid, mode="bicubic", align_corners=False).clamp(0, 1)
        behind = data.colours(data.BACKGROUNDS)[self.background][:, :, None, None]
        return (drawn[:, :3] + (1 - drawn[:, 3:]) * behind).clamp(0, 1) * 2 - 1

    def batches(self, size: int) -> Iterator[Tensor]:
        """All of them drawn, `size` at a time."""
        for start in range(0, len(self), size):
            yield self[start : start + size].draw()


def drawings_of(split: data.Split, count: int, generator: torch.Generator) -> Drawings:
    """`count` emoji in combinations of one split, each drawn in its own way.

    Every combination comes before any comes twice.
    """
    among = _among(split)
    order = torch.cat(
        [torch.randperm(len(among), generator=generator) for _ in range(-(-count // len(among)))]
    )
    emoji, background, tilt = among[order[:count]].unbind(1)
    turn, scale, right, down, luck = torch.rand(5, count, generator=generator)
    may = torch.tensor([known()[it].mirrors for it in emoji.tolist()])
    return Drawings(
        emoji,
        background,
        tilt,
        turn=WOBBLE * (2 * turn - 1),
        scale=SCALES[0] + (SCALES[1] - SCALES[0]) * scale,
        right=SHIFT * (2 * right - 1),
        down=SHIFT * (2 * down - 1),
        mirrored=may & (luck < MIRRORED),
    )


@cache
def _among(split: data.Split) -> Tensor:
    return torch.tensor(scenes(split))


@cache
def originals() -> Tensor:
    """Every emoji as red, green, blue, each times the opacity, and opacity: `(n, 4, 64, 64)`.

    Of 0 to 255, in the order of `names.known()`.

    Raises:
        MissingDataError: the package with the pictures is missing.
    """
    place = picture_folder()
    return torch.stack([opaque(place / f"{it.code}.png") for it in known()])


def opaque(path: Path) -> Tensor:
    """A picture file as uint8 `(4, 64, 64)`: colours times the opacity, and opacity."""
    with Image.open(path) as file:
        rgba = torch.from_numpy(np.array(file.convert("RGBA"))).permute(2, 0, 1).float()
    return torch.cat([rgba[:3] * rgba[3:] / 255, rgba[3:]]).round().byte()


def picture_folder() -> Path:
    """Where the pictures lie.

    Raises:
        MissingDataError: saying what to install.
    """
    package = Path(os.environ.get(VARIABLE, Path("node_modules") / PACKAGE))
    pictures = package / "img" / "google" / "64"
    if not pictures.is_dir():
        raise MissingDataError(
            f"emoji are drawn from the npm package {PACKAGE} {VERSION}, and {pictures} is no "
            f"folder: run npm install --no-save {PACKAGE}@{VERSION}, or name the package's folder "
            f"in the environment variable {VARIABLE}"
        )
    return pictures
