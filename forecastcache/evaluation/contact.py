"""Contact sheets: rows of pictures, each in a thin frame, with what is said of them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from textwrap import wrap

from matplotlib.figure import Figure
from torch import Tensor

from forecastcache.evaluation.style import Theme, drawing

INCH = 1.1  # a picture's edge on the sheet
LINE = 0.135  # inches of a line of small letters
BESIDE = 1.6  # inches for the names of rows
WRAPPED = 17  # letters of a line below a picture
LINES = 5  # below a picture


@dataclass(frozen=True)
class PictureRow:
    """A row of pictures.

    Attributes:
        name: text left of it.
        pictures: pictures in [0, 1], `(n, 3, h, w)`.
        under: a few letters below each picture; empty for none.
        above: line above the row.
    """

    name: str
    pictures: Tensor
    under: Sequence[str] = ()
    above: str = ""


def draw_rows(
    rows: Sequence[PictureRow],
    below: Sequence[str],
    title: str,
    note: str,
    path: Path,
    theme: Theme,
) -> None:
    """Save rows of pictures as one.

    Args:
        rows: rows, each of as many pictures.
        below: text below each column; empty for none.
        title: title of the sheet.
        note: line below the title.
        path: path of the PNG, written in full or not at all.
        theme: colours.
    """
    columns = max((len(row.pictures) for row in rows), default=1)
    captions = [wrapped(text, WRAPPED, LINES) for text in below]
    heights = [_height(row) for row in rows]
    foot = LINE * max((text.count("\n") + 1 for text in captions), default=0) + 0.1
    width, top = max(5.5, columns * INCH + BESIDE + 0.1), 0.55
    height = top + sum(heights) + foot
    with drawing(path, (width, height), title, note, theme) as figure:
        figure.set_layout_engine("none")
        level = height - top
        for row, tall in zip(rows, heights):
            level -= tall
            _draw(figure, row, level, (width, height), theme)
        for column, text in enumerate(captions):
            across = BESIDE + (column + 0.48) * INCH
            figure.text(
                across / width, (foot - 0.03) / height, text, ha="center", va="top", fontsize=7,
                color=theme.ink,
            )  # fmt: skip


def wrapped(text: str, letters: int, most: int = 3) -> str:
    """A text in lines of at most so many letters, its end cut off beyond so many lines."""
    lines = [line for part in text.split("\n") for line in wrap(part, letters)] or [""]
    return "\n".join(lines if len(lines) <= most else [*lines[: most - 1], lines[most - 1] + "…"])


def _height(row: PictureRow) -> float:
    tall = INCH * 0.96 * row.pictures.shape[-2] / row.pictures.shape[-1]
    return tall + 0.05 + (LINE + 0.05) * (any(row.under) + bool(row.above))


def _draw(
    figure: Figure, row: PictureRow, level: float, size: tuple[float, float], theme: Theme
) -> None:
    """One row, its lower edge at a level in inches."""
    width, height = size
    tall = INCH * 0.96 * row.pictures.shape[-2] / row.pictures.shape[-1]
    bottom = level + (LINE + 0.05) * any(row.under)
    figure.text(
        (BESIDE - 0.08) / width, (bottom + tall / 2) / height, row.name, ha="right", va="center",
        fontsize=8, linespacing=1.3,
    )  # fmt: skip
    if row.above:
        figure.text(
            BESIDE / width, (bottom + tall + 0.04) / height, row.above, fontsize=7, va="bottom"
        )
    for column, picture in enumerate(row.pictures):
        place = ((BESIDE + column * INCH) / width, bottom / height, 0.96 * INCH / width)
        axes = figure.add_axes((*place, tall / height))
        axes.imshow(picture.expand(3, -1, -1).permute(1, 2, 0).numpy(), interpolation="nearest")
        axes.set(xticks=[], yticks=[])
        axes.spines[:].set(color=theme.muted, linewidth=0.5)
        if column < len(row.under):
            axes.set_xlabel(row.under[column], fontsize=7, labelpad=1.5, color=theme.muted)
