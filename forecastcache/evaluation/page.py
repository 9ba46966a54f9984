"""Page: one HTML file that needs nothing else: sortable table, charts, samples with sliders."""

from __future__ import annotations

import base64
import math
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cache
from io import BytesIO
from pathlib import Path
from typing import Any

from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markupsafe import Markup
from PIL import Image, features
from torch import Tensor

from forecastcache._util.atomic_write import atomic_write
from forecastcache._util.decibels import format_decibels
from forecastcache.evaluation.captions import Caption
from forecastcache.evaluation.image_files import MILLISECONDS, as_image
from forecastcache.evaluation.pictures import common_gain
from forecastcache.evaluation.style import DARK, LIGHT, Target

HERE = Path(__file__).parent
SAMPLES = 8  # on a page
LARGEST = 1024  # pixels of a picture's edge, at most
SMALL = 512  # pixels of an edge
REEL = 4096  # pixels of the edge of a sheet of frames, at most


@dataclass(frozen=True)
class Table:
    """Figures, a line a method.

    Attributes:
        titles: titles of the columns.
        lines: cells; the first of each line is the method's name.
        remarks: what a reader should know, a line each.
    """

    titles: Sequence[str]
    lines: Sequence[Sequence[str]]
    remarks: Sequence[str] = ()


@dataclass(frozen=True)
class Chart:
    """A chart.

    Attributes:
        title: what it shows, for those who do not see it.
        svg: the SVG, whose colours are those of the page.
    """

    title: str
    svg: Markup


@dataclass(frozen=True)
class View:
    """One way in which a sample was made.

    Attributes:
        name: method's name.
        uri: picture, or frames of a clip, as data.
        near: PSNR to the plain sample, in words.
    """

    name: str
    uri: str
    near: str = ""


@dataclass(frozen=True)
class Sample:
    """A sample in every way in which it was made, the plain one first.

    Attributes:
        caption: what it was asked as.
        width: width in pixels.
        height: height in pixels.
        views: the ways.
    """

    caption: str
    width: int
    height: int
    views: Sequence[View]


@dataclass(frozen=True)
class Films:
    """How frames lie on the sheet of a clip.

    Attributes:
        frames: number of frames.
        columns: number of frames in a line.
        lines: number of lines.
        milliseconds: how long a frame is shown.
    """

    frames: int
    columns: int
    lines: int
    milliseconds: int = MILLISECONDS


@dataclass(frozen=True)
class Page:
    """What a page shows.

    Attributes:
        title: title of the page.
        summary: sentence below it.
        command: command that writes the page.
        facts: what it is of: versions and the like, by name.
        table: figures.
        charts: charts.
        samples: samples.
        samples_note: sentence above the samples.
        gain: how much differences are amplified.
        films: how frames lie, where samples are clips.
    """

    title: str
    summary: str
    command: str = ""
    facts: Mapping[str, str] = field(default_factory=dict)
    table: Table | None = None
    charts: Sequence[Chart] = ()
    samples: Sequence[Sample] = ()
    samples_note: str = ""
    gain: int = 1
    films: Films | None = None

    def html(self) -> str:
        """The page as text; everything in it is escaped."""
        style, script = (
            Markup((HERE / name).read_text(encoding="utf-8")) for name in ("page.css", "page.js")
        )
        return _environment().get_template("page.html").render(
            page=self, style=style, script=script, sort_value=sort_value,
            light=LIGHT.variables(), dark=DARK.variables(),
        )  # fmt: skip

    def save(self, path: Path) -> None:
        """Write the page, in full or not at all."""
        with atomic_write(path) as partial:
            partial.write_text(self.html(), encoding="utf-8")


@cache
def _environment() -> Environment:
    return Environment(
        loader=FileSystemLoader(HERE), autoescape=True, undefined=StrictUndefined,
        trim_blocks=True, lstrip_blocks=True,
    )  # fmt: skip


def sort_value(cell: str) -> str:
    """A number to sort a cell by; empty where it has none. Identical samples are the nearest."""
    if cell == "identical":
        return "1e308"
    try:
        value = float(cell.replace(",", "").removesuffix("%"))
    except ValueError:
        return ""
    return repr(value) if math.isfinite(value) else ""


def inline_svg(name: str, draw: Callable[[Target], None]) -> Markup:
    """What a chart draws, as SVG for a page: its colours follow the reader's theme.

    Args:
        name: short name, which no other chart of the page has.
        draw: called with the buffer to draw into, in the light theme.
    """
    buffer = BytesIO()
    draw(buffer)
    text = buffer.getvalue().decode("utf-8")
    text = text[text.index("<svg") :]
    text = re.sub(r"<metadata>.*?</metadata>", "", text, flags=re.DOTALL)
    text = re.sub(r'(<svg\b[^>]*?) width="[^"]*"', r"\1", text, count=1)
    text = re.sub(r'(<svg\b[^>]*?) height="[^"]*"', r"\1", text, count=1)
    for variable, colour in LIGHT.variables().items():
        text = text.replace(colour, f"var(--{variable})")
    text = text.replace("'DejaVu Sans'", "'DejaVu Sans', Verdana, sans-serif")
    used = {*re.findall(r"url\(#([^)]+)\)", text), *re.findall(r'href="#([^"]+)"', text)}
    text = re.sub(
        r' id="([^"]+)"',
        lambda found: f' id="{name}-{found[1]}"' if found[1] in used else "",
        text,
    )
    text = re.sub(r"url\(#([^)]+)\)", rf"url(#{name}-\1)", text)
    return Markup(re.sub(r'href="#([^"]+)"', rf'href="#{name}-\1"', text))


def samples_of(
    plain: Tensor,
    methods: Mapping[str, Tensor],
    captions: Sequence[Caption],
    near: Mapping[str, Sequence[float | None]],
) -> dict[str, Any]:
    """The fields of a `Page` that show samples, at most eight.

    Args:
        plain: plain samples in [0, 1], pictures `(n, 3, h, w)` or clips `(n, frames, 3, h, w)`.
        methods: samples of each method, by its name.
        captions: what each sample was asked as.
        near: PSNR of each method's samples to the plain ones, in dB; None where they are equal.
    """
    shown = plain[:SAMPLES]
    films = _films(shown) if shown.dim() == 5 else None
    found = []
    for place, (reference, caption) in enumerate(zip(shown, captions)):
        views = [View("plain", _uri(reference, films))]
        for name, made in methods.items():
            said = list(near.get(name, ()))
            words = format_decibels(said[place]) if place < len(said) else ""
            views.append(View(name, _uri(made[place], films), words))
        height, width = reference.shape[-2:]
        found.append(Sample(str(caption), width, height, views))
    gain = common_gain([made[: len(shown)] for made in methods.values()], shown)
    return {"samples": found, "gain": gain, "films": films}


def _films(clips: Tensor) -> Films:
    frames, (height, width) = clips.shape[1], clips.shape[-2:]
    columns = max(1, min(frames, round(math.sqrt(frames * height / width))))
    return Films(frames, columns, -(-frames // columns))


def _uri(sample: Tensor, films: Films | None) -> str:
    """A picture, or the frames of a clip on one sheet, without loss."""
    if films is None:
        image, most = as_image(sample), LARGEST
    else:
        height, width = sample.shape[-2:]
        image, most = Image.new("RGB", (films.columns * width, films.lines * height)), REEL
        for place, frame in enumerate(sample):
            line, column = divmod(place, films.columns)
            image.paste(as_image(frame), (column * width, line * height))
    image.thumbnail((most, most))
    buffer = BytesIO()
    # WebP is a third smaller, but small pictures are small anyhow.
    kind = "WEBP" if max(image.size) > SMALL and features.check("webp") else "PNG"
    image.save(buffer, kind, **({"lossless": True} if kind == "WEBP" else {"optimize": True}))
    data = base64.b64encode(buffer.getvalue()).decode()
    return f"data:image/{kind.lower()};base64,{data}"
