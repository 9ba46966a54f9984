"""Pictures of what forecasting did."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
import torch
from matplotlib.colors import SymLogNorm
from matplotlib.figure import Figure
from PIL import Image
from torch import Tensor

from forecastcache._util.atomic_write import atomic_write
from forecastcache.predictors.explanation import Explanation

INCH = 1.1  # a picture's edge on the sheet
MOST = 12  # pictures in a row
CLIPS = 4  # on a sheet
MILLISECONDS = 120  # that a frame is shown
ENLARGED = 192  # pixels, about: the height of a clip that was made small
STRIP = 8  # samples side by side
STRIPS = 24  # one under the other


def contact_sheet(plain: Tensor, forecast: Tensor, title: str, caption: str, path: Path) -> None:
    """Save plain and forecast samples in rows, and under them what differs, amplified.

    Args:
        plain: samples in [0, 1]: pictures `(n, 3, h, w)`, of which the first dozen are drawn, or
            clips `(n, frames, 3, h, w)`, of which the first four are, frame by frame.
        forecast: samples of the same shape.
        title: text above the rows.
        caption: text below them.
        path: path of the PNG, written in full or not at all.
    """
    if plain.dim() == 4:
        plain, forecast = plain[None], forecast[None]
    plain, forecast = plain[:CLIPS, :MOST], forecast[:CLIPS, :MOST]
    difference = (forecast - plain).abs()
    gain = _gain(difference)
    amplified = (difference * gain).clamp(0, 1)
    names = ("plain", "forecast", f"difference\n×{gain}") * len(plain)
    rows = torch.stack([plain, forecast, amplified], 1).flatten(0, 1)
    columns = rows.shape[1]
    height, width = plain.shape[-2:]
    figure = Figure(
        figsize=(max(6.0, columns * INCH + 1.2), len(rows) * INCH * height / width + 1.3),
        layout="constrained",
    )
    figure.suptitle(title, fontsize=11, fontweight="bold")
    figure.supxlabel(caption, fontsize=9)
    grid = figure.subplots(len(rows), columns, squeeze=False)
    for axes_row, name, pictures in zip(grid, names, rows):
        axes_row[0].set_ylabel(name, rotation=0, ha="right", va="center", fontsize=9)
        for axes, picture in zip(axes_row, pictures):
            axes.imshow(picture.permute(1, 2, 0).numpy(), interpolation="nearest")
            axes.set(xticks=[], yticks=[])
            axes.spines[:].set_visible(False)
    with atomic_write(path) as partial:
        figure.savefig(partial, dpi=150, format="png")


def save_strip(samples: Tensor, path: Path) -> None:
    """Save the first samples side by side, no higher than they need be to be told apart.

    Args:
        samples: pictures `(n, 3, h, w)`, or clips `(n, frames, 3, h, w)`, of which the middle
            frame is shown, in [0, 1].
        path: path of the PNG, written in full or not at all.
    """
    if samples.dim() == 5:
        samples = samples[:, samples.shape[1] // 2]
    row = torch.cat(list(samples[:STRIP]), dim=-1).expand(3, -1, -1).movedim(0, -1)
    image = Image.fromarray((row * 255).round().byte().numpy())
    if image.height > ENLARGED:
        image = image.resize((image.width * ENLARGED // image.height, ENLARGED))
    with atomic_write(path) as partial:
        image.save(partial, "PNG")


def sheet(strips: Mapping[str, Path], path: Path) -> None:
    """Save strips that `save_strip` made one under the other, the first two dozen.

    Args:
        strips: paths of the strips by the text beside them.
        path: path of the PNG, written in full or not at all.
    """
    shown = list(strips.items())[:STRIPS]
    images = [np.asarray(Image.open(strip)) for _, strip in shown]
    height, width, _ = images[0].shape
    figure = Figure(figsize=(6, len(shown) * (6 * height / width + 0.2)), layout="constrained")
    grid = figure.subplots(len(shown), squeeze=False)[:, 0]
    for axes, (name, _), image in zip(grid, shown, images):
        axes.imshow(image, interpolation="nearest")
        axes.set_title(name, loc="left", fontsize=7, pad=2)
        axes.set_axis_off()
    with atomic_write(path) as partial:
        figure.savefig(partial, dpi=150, format="png")


def film(plain: Tensor, forecast: Tensor, path: Path) -> None:
    """Save clips as one GIF: plain ones above, forecast ones below.

    Args:
        plain: clips `(n, frames, 3, h, w)` in [0, 1]; the first dozen are shown.
        forecast: clips of the same shape.
        path: path of the GIF, written in full or not at all.
    """
    rows = [torch.cat(list(clips[:MOST]), dim=-1) for clips in (plain, forecast)]
    frames = (torch.cat(rows, dim=-2).movedim(1, -1) * 255).round().byte().numpy()
    scale = max(1, ENLARGED // plain.shape[-2])
    size = (frames.shape[2] * scale, frames.shape[1] * scale)
    images = [Image.fromarray(frame).resize(size, Image.Resampling.NEAREST) for frame in frames]
    with atomic_write(path) as partial:
        images[0].save(
            partial, "GIF", save_all=True, append_images=images[1:], duration=MILLISECONDS, loop=0
        )


def frontier(points: dict[str, list[tuple[int, float]]], steps: int, path: Path) -> None:
    """Save latent PSNR against computed steps as a picture.

    Args:
        points: (number of computed steps, latent PSNR in dB) by the name of each kind of rows.
        steps: number of steps of a trajectory.
        path: path of the PNG, written in full or not at all.
    """
    figure = Figure(figsize=(7, 4), layout="constrained")
    axes = figure.add_subplot(
        xlabel=f"computed steps of {steps}",
        ylabel="latent PSNR to the plain run, dB",
        xscale="log",
    )
    for name, marker in zip(points, ("o", "-", "--")):
        if points[name]:
            axes.plot(*zip(*points[name]), marker, label=name)
    ticks = [count for count in (1, 2, 3, 5, 7, 10, 15, 20, 30, 50) if count <= steps]
    axes.set_xticks(ticks, [f"{count}\n{steps / count:.1f}x" for count in ticks])
    axes.minorticks_off()
    axes.grid(alpha=0.3)
    axes.legend()
    with atomic_write(path) as partial:
        figure.savefig(partial, dpi=150, format="png")


def row_map(explained: Sequence[Explanation], path: Path) -> None:
    """Save rows as a picture: weights by feature, and coefficients by order of difference.

    Args:
        explained: explanation of each forecast step's row.
        path: path of the PNG, written in full or not at all.
    """
    figure = Figure(figsize=(9, 0.13 * len(explained) + 2), layout="constrained")
    left, right = figure.subplots(1, 2, sharey=True)
    orders = _table([it.differences for it in explained])
    weights = _table([it.row[::-1][: orders.shape[1]] for it in explained])
    labels = [str(it.target.index) for it in explained]
    for axes, table, title, across in (
        (left, weights, "weight of a computed feature", "computed steps before the newest"),
        (right, orders, "coefficient of a difference", "order"),
    ):
        most = float(np.nanmax(np.abs(table)))
        norm = SymLogNorm(1, vmin=-most, vmax=most)
        image = axes.imshow(table, cmap="RdBu_r", norm=norm, aspect="auto")
        axes.set_title(title)
        axes.set_xticks(range(table.shape[1]))
        axes.set_xlabel(across)
        figure.colorbar(image, ax=axes)
    left.set_yticks(range(len(labels)), labels, fontsize=6)
    left.set_ylabel("forecast step")
    with atomic_write(path) as partial:
        figure.savefig(partial, dpi=150, format="png")


def _table(rows: Sequence[Sequence[float]]) -> np.ndarray:
    table = np.full((len(rows), max(map(len, rows))), np.nan)
    for i, row in enumerate(rows):
        table[i, : len(row)] = row
    return table


def _gain(difference: Tensor) -> int:
    """The power of two that lifts all but the strongest hundredth into view."""
    strong = torch.quantile(difference.flatten()[: 1 << 23], 0.99).item()
    return 1 if strong == 0 else 2 ** max(0, math.floor(math.log2(1 / strong)))
