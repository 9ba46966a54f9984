"""Style: one look for every chart: fonts, colours, titles, and labels beside what they name.

The colours are those of Okabe and Ito, which people with any kind of colour vision tell apart. A
method's colour depends on its name alone, so that it is the same in every chart.
"""

from __future__ import annotations

import math
import re
import warnings
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from io import BytesIO
from pathlib import Path
from typing import Any
from zlib import crc32

import matplotlib
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.colors import to_hex, to_rgb
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, LogLocator, NullFormatter

from forecastcache._util.atomic_write import atomic_write

Target = Path | BytesIO  # a PNG or, by its suffix, an SVG; a buffer takes an SVG
DPI = 150
FONT = "DejaVu Sans"  # it comes with matplotlib
RAISED = str.maketrans("-0123456789", "⁻⁰¹²³⁴⁵⁶⁷⁸⁹")
MARKERS = "os^DvPX<>p"
OURS = "learned"  # family of what a calibration forecasts
# Hue of each family that is known here; an outsider's is found from its name.
FAMILIES = {
    OURS: "vermillion",
    "plain": "ink",
    "steps": "grey",
    "reuse": "grey",
    "taylor": "blue",
    "taylorseer": "blue",
    "taylorseer-lite": "blue",
    "variable-order": "orange",
    "fastercache": "orange",
    "newton": "sky",
    "cache-dit": "sky",
    "first-block": "green",
    "firstblock": "green",
    "magcache": "purple",
}
HUES = ("blue", "orange", "green", "purple", "sky")  # of all others


@dataclass(frozen=True)
class Theme:
    """The colours of a chart.

    Attributes:
        name: name of the theme.
        ground: colour of the background.
        ink: colour of text and axes.
        muted: colour of what is said by the way.
        grid: colour of grid lines and frames.
        hues: colours of what is drawn, by name; "ink" and "muted" are known besides.
    """

    name: str
    ground: str
    ink: str
    muted: str
    grid: str
    hues: Mapping[str, str] = field(repr=False)

    def colour(self, hue: str) -> str:
        """The colour of a hue."""
        named = {"ink": self.ink, "muted": self.muted, "grid": self.grid, "ground": self.ground}
        return named.get(hue) or self.hues[hue]

    def text(self, hue: str) -> str:
        """A hue for letters: nearer to the ink, since letters are thinner than markers."""
        if hue not in self.hues:
            return self.colour(hue)
        pairs = zip(to_rgb(self.hues[hue]), to_rgb(self.ink))
        red, green, blue = (0.6 * own + 0.4 * ink for own, ink in pairs)
        return str(to_hex((red, green, blue)))

    def variables(self) -> dict[str, str]:
        """Every colour by a name, for a page that changes them with its reader's theme."""
        named = {name: self.colour(name) for name in ("ink", "muted", "grid", "ground")}
        texts = {f"{hue}-text": self.text(hue) for hue in self.hues}
        return {**named, **self.hues, **texts}


LIGHT = Theme(
    "light", "#ffffff", "#1b1f24", "#59636e", "#d8dee4",
    {
        "vermillion": "#d55e00", "blue": "#0072b2", "orange": "#e69f00", "green": "#009e73",
        "purple": "#cc79a7", "sky": "#56b4e9", "grey": "#7f8791",
    },
)  # fmt: skip
DARK = Theme(
    "dark", "#14181d", "#e8ecf0", "#9aa4af", "#343b43",
    {
        "vermillion": "#f0762a", "blue": "#4a9fe0", "orange": "#e9a820", "green": "#20b486",
        "purple": "#d88bb6", "sky": "#7cc7f2", "grey": "#8f98a3",
    },
)  # fmt: skip
THEMES = {theme.name: theme for theme in (LIGHT, DARK)}


@dataclass(frozen=True)
class Look:
    """How a method is drawn.

    Attributes:
        hue: name of its colour.
        marker: marker of its points.
        ours: whether it is a calibration's, which is drawn thicker.
    """

    hue: str
    marker: str
    ours: bool

    @property
    def width(self) -> float:
        """Width of its lines, in points."""
        return 2.2 if self.ours else 1.1


def family_of(line: str, predictor: str | None = None) -> str:
    """The family of a method: the name before its options, or `learned` for a calibration's.

    Args:
        line: name of its line in a chart.
        predictor: predictor as its report writes it, where there is one.
    """
    if line.startswith("zoo:") or (predictor or "").startswith("Learned"):
        return OURS
    return re.split(r"[:, ]", line, maxsplit=1)[0]


def hue_of(family: str) -> str:
    """The hue of a family, the same in every chart and every process."""
    return FAMILIES.get(family) or HUES[crc32(family.encode()) % len(HUES)]


def looks(lines: Iterable[tuple[str, str]]) -> dict[str, Look]:
    """How each line of a chart is drawn; lines of one hue differ by their markers.

    Args:
        lines: name and family of each line, in the order of the chart.
    """
    found: dict[str, Look] = {}
    for line, family in lines:
        hue = hue_of(family)
        before = sum(look.hue == hue for name, look in found.items() if name != line)
        found.setdefault(line, Look(hue, MARKERS[before % len(MARKERS)], family == OURS))
    return found


@contextmanager
def drawing(
    target: Target,
    size: tuple[float, float],
    title: str = "",
    note: str = "",
    theme: Theme = LIGHT,
    right: float = 0.0,
) -> Iterator[Figure]:
    """Yield a figure in the style, saved at the end in full or not at all.

    Args:
        target: path of a PNG or an SVG, or a buffer for an SVG.
        size: width and height in inches.
        title: title of the figure.
        note: line below it, such as model, steps and samples.
        theme: colours.
        right: inches that are kept free at the right for labels.
    """
    with matplotlib.rc_context(_settings(theme)), warnings.catch_warnings():
        # DejaVu has no Chinese, which prompts may be in; empty boxes are drawn instead.
        warnings.filterwarnings("ignore", message="Glyph .* missing from")
        figure = Figure(figsize=size, dpi=DPI, layout="constrained")
        FigureCanvasAgg(figure)
        width, height = size
        top = 0.08 + 0.24 * bool(title) + 0.2 * bool(note)
        engine = figure.get_layout_engine()
        assert engine is not None
        engine.set(rect=(0, 0, 1 - right / width, 1 - top / height))  # type: ignore[call-arg]
        most = int(width * 13)
        figure.text(
            0.08 / width, 1 - 0.08 / height, clipped(title, most), va="top",
            fontsize=10.5, fontweight="bold",
        ).set_in_layout(False)  # fmt: skip
        figure.text(
            0.08 / width, 1 - (0.1 + 0.22 * bool(title)) / height, clipped(note, int(width * 16)),
            va="top", fontsize=8.5, color=theme.muted,
        ).set_in_layout(False)  # fmt: skip
        yield figure
        if isinstance(target, BytesIO):
            figure.savefig(target, format="svg", metadata={"Date": None})
            return
        kind = "svg" if target.suffix.lower() == ".svg" else "png"
        with atomic_write(target) as partial:
            figure.savefig(partial, format=kind, metadata={} if kind == "png" else {"Date": None})


def clipped(text: str, most: int) -> str:
    """A text of at most so many letters, its end cut off where it is longer."""
    text = " ".join(text.split())
    return text if len(text) <= most else text[: most - 1].rstrip() + "…"


def about(model: str, steps: int | None, samples: int | None) -> str:
    """Model, steps and samples in a line, as far as they are known."""
    parts = [model]
    parts += [f"{steps} step{'s' * (steps > 1)}"] if steps else []
    parts += [f"{samples} sample{'s' * (samples > 1)}"] if samples else []
    return ", ".join(filter(None, parts))


def named_axes(axes: Axes, across: str, up: str) -> Axes:
    """Axes with their quantities and units, and no more lines than they need."""
    axes.set(xlabel=across, ylabel=up)
    axes.spines[["top", "right"]].set_visible(False)
    axes.grid(True)
    axes.set_axisbelow(True)
    return axes


def powers_of_ten(axes: Axes) -> None:
    """Make the y axis logarithmic, its ticks powers of ten."""
    axes.set_yscale("log")
    axes.yaxis.set_major_locator(LogLocator(numticks=8))
    axes.yaxis.set_major_formatter(FuncFormatter(lambda value, _: power_of_ten(value)))
    axes.yaxis.set_minor_formatter(NullFormatter())


def power_of_ten(value: float) -> str:
    """A power of ten in the letters that any font has; other numbers as they are."""
    exponent = math.log10(abs(value)) if value else 0.5
    if exponent in (0, 1) or exponent != round(exponent):
        return f"{value:g}"
    sign = "−" if value < 0 else ""
    return sign + "10" + str(round(exponent)).translate(RAISED)


def plain_ticks(axes: Axes, ticks: Sequence[float], labels: Sequence[str]) -> None:
    """Ticks of a logarithmic x axis at the given places alone."""
    axes.set_xscale("log")
    low, high = axes.get_xlim()
    kept = [(tick, label) for tick, label in zip(ticks, labels) if low <= tick <= high]
    axes.set_xticks([tick for tick, _ in kept], [label for _, label in kept])
    axes.minorticks_off()


def _settings(theme: Theme) -> dict[Any, Any]:
    return {
        "font.family": FONT,
        "font.size": 9,
        "text.parse_math": False,  # a method's name may hold a dollar sign
        "svg.fonttype": "none",
        "svg.hashsalt": "forecastcache",
        "figure.facecolor": theme.ground,
        "savefig.facecolor": theme.ground,
        "axes.facecolor": theme.ground,
        "axes.edgecolor": theme.muted,
        "axes.labelcolor": theme.ink,
        "axes.labelsize": 9,
        "axes.linewidth": 0.8,
        "axes.titlesize": 9,
        "axes.titlecolor": theme.ink,
        "axes.titlelocation": "left",
        "grid.color": theme.grid,
        "grid.linewidth": 0.6,
        "text.color": theme.ink,
        "xtick.color": theme.muted,
        "ytick.color": theme.muted,
        "xtick.labelcolor": theme.ink,
        "ytick.labelcolor": theme.ink,
        "xtick.labelsize": 8.5,
        "ytick.labelsize": 8.5,
        "legend.frameon": False,
        "legend.fontsize": 8,
        "lines.markersize": 5,
        "lines.solid_capstyle": "round",
    }
