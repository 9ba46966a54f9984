"""Pictures of what forecasting did."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from forecastcache._moved import name_new_places
from forecastcache._util.atomic_write import atomic_write
from forecastcache._util.decibels import format_decibels
from forecastcache.evaluation.captions import Caption
from forecastcache.evaluation.contact import PictureRow, draw_rows, wrapped
from forecastcache.evaluation.image_files import as_image, save_gif
from forecastcache.evaluation.measurement import Measurement
from forecastcache.evaluation.style import LIGHT, Theme
from forecastcache.metrics.psnr import psnr_of_each

name_new_places(__name__)

MOST = 12  # pictures in a row
CLIPS = 4  # on a sheet
ENLARGED = 192  # pixels, about: the height of a clip that was made small
STRIP = 8  # samples side by side
NARROW = 22  # letters of a line beside a row


def contact_sheet(
    plain: Tensor,
    forecast: Tensor,
    title: str,
    caption: str,
    path: Path,
    captions: Sequence[Caption] = (),
    theme: Theme = LIGHT,
) -> None:
    """Save plain and forecast samples in rows, and under them what differs, amplified.

    Args:
        plain: samples in [0, 1]: pictures `(n, 3, h, w)`, of which the first dozen are drawn, or
            clips `(n, frames, 3, h, w)`, of which the first four are, frame by frame.
        forecast: samples of the same shape.
        title: title of the sheet.
        caption: line below the title.
        path: path of the PNG, written in full or not at all.
        captions: what each sample was asked as; written below it with its PSNR.
        theme: colours.
    """
    side_by_side(plain, {"forecast": forecast}, title, caption, path, captions, theme)


def side_by_side(
    plain: Tensor,
    methods: Mapping[str, Tensor],
    title: str,
    note: str,
    path: Path,
    captions: Sequence[Caption] = (),
    theme: Theme = LIGHT,
) -> None:
    """Save plain samples, and those of each method with what differs; arguments as above.

    Args:
        plain: samples of the plain run.
        methods: samples of each method, by its name.
        title: title of the sheet.
        note: line below the title.
        path: path of the PNG, written in full or not at all.
        captions: what each sample was asked as.
        theme: colours.
    """
    gain, clips = common_gain(list(methods.values()), plain), plain.dim() == 5
    near = {
        name: [format_decibels(it) for it in psnr_of_each(made, plain)]
        for name, made in methods.items()
    }
    if not clips:
        rows = _compared(plain, methods, near, gain)
        draw_rows(rows, [it.in_lines() for it in captions[:MOST]], title, note, path, theme)
        return
    rows = []
    for place, reference in enumerate(plain[:CLIPS]):
        named = {f"{wrapped(name, NARROW)}\n{near[name][place]}": name for name in methods}
        frames = {text: methods[name][place] for text, name in named.items()}
        above = str(captions[place]) if place < len(captions) else ""
        rows += _compared(reference, frames, {}, gain, above)
    draw_rows(rows, [], title, note, path, theme)


def _compared(
    plain: Tensor,
    methods: Mapping[str, Tensor],
    near: Mapping[str, Sequence[str]],
    gain: int,
    above: str = "",
) -> list[PictureRow]:
    """Rows of pictures `(n, 3, h, w)`: plain ones, then each method's and what differs."""
    rows = [PictureRow("plain", plain[:MOST], above=above)]
    for name, made in methods.items():
        differing = ((made - plain).abs() * gain).clamp(0, 1)[:MOST]
        said = near.get(name, ())
        rows.append(PictureRow(wrapped(name, NARROW, 4), made[:MOST]))
        rows.append(PictureRow(f"difference\n×{gain}", differing, under=said))
    return rows


def save_strip(samples: Tensor, path: Path) -> None:
    """Save the first samples side by side, no higher than they need be to be told apart.

    Args:
        samples: pictures `(n, 3, h, w)`, or clips `(n, frames, 3, h, w)`, of which the middle
            frame is shown, in [0, 1].
        path: path of the PNG, written in full or not at all.
    """
    if samples.dim() == 5:
        samples = samples[:, samples.shape[1] // 2]
    image = as_image(torch.cat(list(samples[:STRIP]), dim=-1))
    if image.height > ENLARGED:
        image = image.resize((image.width * ENLARGED // image.height, ENLARGED))
    with atomic_write(path) as partial:
        image.save(partial, "PNG")


def sheet(
    shown: Sequence[Measurement],
    strips: Mapping[str, Path],
    path: Path,
    plain: Path | None = None,
    captions: Sequence[Caption] = (),
    note: str = "",
    theme: Theme = LIGHT,
) -> None:
    """Save strips that `save_strip` made one under the other, and what differs from the plain one.

    Args:
        shown: rows to show.
        strips: paths of the strips, by the names of the rows.
        path: path of the PNG, written in full or not at all.
        plain: strip of the plain run.
        captions: what each sample was asked as; without them a strip is not taken apart.
        note: line below the title.
        theme: colours.
    """
    count = min(len(captions), STRIP) or 1
    reference = None if plain is None else pieces(plain, count)
    found = {row.name: pieces(strips[row.name], count) for row in shown if row.name in strips}
    gain = 1 if reference is None else common_gain(list(found.values()), reference)
    rows = [] if reference is None else [PictureRow("plain", reference)]
    for row in shown:
        if row.name not in found:
            continue
        near = f"\n{format_decibels(row.psnr_db)}"
        rows.append(PictureRow(wrapped(row.name, NARROW) + near, found[row.name]))
        if reference is not None:
            differing = ((found[row.name] - reference).abs() * gain).clamp(0, 1)
            said = [format_decibels(it) for it in row.psnr_db_by_sample]
            rows.append(PictureRow(f"difference\n×{gain}", differing, under=said))
    below = [it.in_lines() for it in captions[:count]]
    draw_rows(rows, below, "Samples and their PSNR to the plain run", note, path, theme)


def pieces(strip: Path, count: int) -> Tensor:
    """The samples of a strip in [0, 1], `(count, 3, h, w)`."""
    with Image.open(strip) as image:
        row = torch.from_numpy(np.array(image.convert("RGB"))).movedim(-1, 0).float() / 255
    width = row.shape[-1] // count
    return torch.stack([row[..., i * width : (i + 1) * width] for i in range(count)])


def film(plain: Tensor, forecast: Tensor, path: Path) -> None:
    """Save clips as one GIF: plain ones above, forecast ones below.

    Args:
        plain: clips `(n, frames, 3, h, w)` in [0, 1]; the first dozen are shown.
        forecast: clips of the same shape.
        path: path of the GIF, written in full or not at all.
    """
    rows = [torch.cat(list(clips[:MOST]), dim=-1) for clips in (plain, forecast)]
    frames = [as_image(frame) for frame in torch.cat(rows, dim=-2)]
    scale = max(1, ENLARGED // plain.shape[-2])
    size = (frames[0].width * scale, frames[0].height * scale)
    save_gif([frame.resize(size, Image.Resampling.NEAREST) for frame in frames], path)


def common_gain(methods: Sequence[Tensor], plain: Tensor) -> int:
    """The power of two that lifts all but the strongest hundredth of differences into view."""
    differences = [(made - plain).abs().flatten()[: (1 << 23) // len(methods)] for made in methods]
    strong = torch.quantile(torch.cat(differences), 0.99).item() if methods else 0
    return 1 if strong == 0 else 2 ** max(0, math.floor(math.log2(1 / strong)))
