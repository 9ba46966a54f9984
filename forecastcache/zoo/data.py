"""Coloured digits: scikit-learn's 1,797 real handwritten scans, drawn as 32x32 RGB pictures.

The scans are 8x8 with 17 grey levels (E. Alpaydin and C. Kaynak, UCI 1998). They come with
scikit-learn, so nothing is downloaded. How bold and how slanted a digit is written is measured off
the scan itself.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import Literal

import torch
from torch import Tensor
from torch.nn import functional as F

SIZE = 32
MARGIN = 2
SPLIT_SEED = 0
HELD_OUT = 239
CALIBRATION = 120

Split = Literal["train", "calibration", "held-out"]

DIGITS = ("zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine")

INKS: dict[str, tuple[float, float, float]] = {
    "red": (0.84, 0.13, 0.20),
    "blue": (0.10, 0.27, 0.75),
    "green": (0.05, 0.45, 0.25),
    "black": (0.08, 0.08, 0.10),
    "white": (0.98, 0.97, 0.94),
    "orange": (0.98, 0.55, 0.08),
}
BACKGROUNDS: dict[str, tuple[float, float, float]] = {
    "cream": (0.97, 0.94, 0.86),
    "yellow": (0.99, 0.84, 0.36),
    "pink": (0.98, 0.76, 0.80),
    "mint": (0.66, 0.88, 0.78),
    "navy": (0.08, 0.13, 0.34),
    "plum": (0.33, 0.13, 0.36),
    "white": (1.00, 1.00, 1.00),
}


@dataclass(frozen=True)
class Scans:
    """Handwritten digits as ink coverage.

    Attributes:
        ink: coverage in [0, 1], `(scans, 32, 32)`.
        digit: digit written, `(scans,)`, int64.
    """

    ink: Tensor
    digit: Tensor

    @cached_property
    def thickness(self) -> Tensor:
        """Twice the ink over the length of its outline: a stroke's width in pixels, `(scans,)`."""
        down, right = self.ink.diff(dim=1)[:, :, :-1], self.ink.diff(dim=2)[:, :-1]
        outline = (down.square() + right.square()).sqrt().sum((1, 2))
        return 2 * self.ink.sum((1, 2)) / outline

    @cached_property
    def slant(self) -> Tensor:
        """How far the ink moves right per pixel up, by its second moments, `(scans,)`."""
        row = torch.arange(float(SIZE))[:, None]
        column = torch.arange(float(SIZE))
        mass = self.ink.sum((1, 2))

        def mean(of: Tensor) -> Tensor:
            return (self.ink * of).sum((1, 2)) / mass

        down = mean(row)
        return (mean(column) * down - mean(row * column)) / (mean(row.square()) - down.square())

    def __len__(self) -> int:
        return len(self.digit)


def scans(split: Split) -> Scans:
    """The scans of one split, the same ones at every call.

    Raises:
        ImportError: scikit-learn is missing; install `forecastcache[zoo]`.
    """
    from sklearn.datasets import load_digits

    data = load_digits()
    order = torch.randperm(len(data.target), generator=torch.Generator().manual_seed(SPLIT_SEED))
    held_out, calibration, train = order.split(
        [HELD_OUT, CALIBRATION, len(order) - HELD_OUT - CALIBRATION]
    )
    chosen = {"held-out": held_out, "calibration": calibration, "train": train}[split]
    grey = torch.from_numpy(data.images).float()[chosen] / 16
    return Scans(ink=_strokes(grey), digit=torch.from_numpy(data.target).long()[chosen])


def _strokes(grey: Tensor) -> Tensor:
    """8x8 grey levels as the crisp strokes that a pen would leave, `(scans, 32, 32)`."""
    inner = SIZE - 2 * MARGIN
    large = F.interpolate(grey[:, None], size=(inner, inner), mode="bicubic")[:, 0]
    edge = ((large - 0.25) / 0.5).clamp(0, 1)
    smooth = edge * edge * (3 - 2 * edge)
    return F.pad(smooth, (MARGIN,) * 4)


def paint(ink: Tensor, colour: Tensor, background: Tensor) -> Tensor:
    """Pictures in [-1, 1], `(n, 3, 32, 32)`, from coverage `(n, 32, 32)` and RGB rows `(n, 3)`."""
    coverage = ink[:, None]
    rgb = coverage * colour[:, :, None, None] + (1 - coverage) * background[:, :, None, None]
    return rgb * 2 - 1


def colours(table: dict[str, tuple[float, float, float]]) -> Tensor:
    """A colour table as a tensor, `(colours, 3)`, in the table's order."""
    return torch.tensor(list(table.values()))
