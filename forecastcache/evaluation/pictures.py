"""Pictures of what forecasting did."""

from __future__ import annotations

import math
from pathlib import Path

import torch
from matplotlib.figure import Figure
from torch import Tensor

INCH = 1.1  # a picture's edge on the sheet
MOST = 12  # pictures in a row


def contact_sheet(plain: Tensor, forecast: Tensor, title: str, caption: str, path: Path) -> None:
    """Save plain and forecast pictures in rows, and under them what differs, amplified.

    Args:
        plain: pictures `(n, 3, h, w)` in [0, 1]; the first dozen are drawn.
        forecast: likewise.
        title: above the rows.
        caption: below them.
        path: of the PNG; written whole or not at all.
    """
    plain, forecast = plain[:MOST], forecast[:MOST]
    difference = (forecast - plain).abs()
    gain = _gain(difference)
    rows = {
        "plain": plain,
        "forecast": forecast,
        f"difference\n×{gain}": (difference * gain).clamp(0, 1),
    }
    columns = len(plain)
    height, width = plain.shape[2:]
    figure = Figure(
        figsize=(max(6.0, columns * INCH + 1.2), 3 * INCH * height / width + 1.3),
        layout="constrained",
    )
    figure.suptitle(title, fontsize=11, fontweight="bold")
    figure.supxlabel(caption, fontsize=9)
    grid = figure.subplots(3, columns, squeeze=False)
    for axes_row, (name, pictures) in zip(grid, rows.items()):
        axes_row[0].set_ylabel(name, rotation=0, ha="right", va="center", fontsize=9)
        for axes, picture in zip(axes_row, pictures):
            axes.imshow(picture.permute(1, 2, 0).numpy(), interpolation="nearest")
            axes.set(xticks=[], yticks=[])
            axes.spines[:].set_visible(False)
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_suffix(".partial")
    figure.savefig(partial, dpi=150, format="png")
    partial.replace(path)


def _gain(difference: Tensor) -> int:
    """The power of two that lifts all but the strongest hundredth into view."""
    strong = torch.quantile(difference.flatten()[: 1 << 23], 0.99).item()
    return 1 if strong == 0 else 2 ** max(0, math.floor(math.log2(1 / strong)))
