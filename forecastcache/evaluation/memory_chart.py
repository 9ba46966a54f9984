"""Memory chart: what a cache holds at every site, on top of the model that it is of."""

from __future__ import annotations

from collections.abc import Sequence

from matplotlib.axes import Axes

from forecastcache.evaluation.charts import in_bytes
from forecastcache.evaluation.style import LIGHT, Target, Theme, drawing, named_axes
from forecastcache.memory.footprint import Footprint
from forecastcache.memory.plan import MemoryPlan

PARTS = {"weights": "grey", "activations": "sky", "cache": "vermillion"}  # and their hues
GIB = 2**30
LETTER = 0.012  # width of a letter, as a share of the axes


def memory_by_site(found: Footprint, target: Target, theme: Theme = LIGHT) -> None:
    """Save weights, activations and cache of every site as stacked bars.

    Args:
        found: what was planned.
        target: path of a PNG or an SVG.
        theme: colours.
    """
    shown = [it for it in found.caches if it.site in found.shown]
    most = max([found.gpu or 0, *(found.needed(it) for it in shown)])
    unit, name = (GIB, "GiB") if most >= GIB else (2**20, "MiB")
    sizes = ", ".join(f"{it.name.replace('_', ' ')} {it.value}" for it in found.sizes)
    dtype = str(found.dtype).removeprefix("torch.")
    note = f"{found.model}, {dtype}, {sizes}; {shown[0].depth} features a site"
    size = (7.6, 0.55 * len(shown) + 1.7)
    title = "Memory while denoising, by site of the cache"
    with drawing(target, size, title, note, theme, right=1.3) as figure:
        axes = named_axes(figure.add_subplot(), f"memory ({name})", "site of the cache")
        axes.grid(False, axis="y")
        axes.set_ylim(len(shown) - 0.25, -0.75)
        axes.set_xlim(0, most / unit * 1.02)
        for place, cache in enumerate(shown):
            _bar(axes, place, [it / unit for it in _parts(found, cache)], theme)
            over = found.gpu is not None and found.needed(cache) > found.gpu
            said = f"cache {in_bytes(cache.total_bytes)}" + "\ndoes not fit" * over
            axes.annotate(
                said, (1, place), xycoords=("axes fraction", "data"), xytext=(6, 0),
                textcoords="offset points", va="center", fontsize=8,
                color=theme.text("vermillion"), annotation_clip=False,
            ).set_in_layout(False)  # fmt: skip
        axes.set_yticks(range(len(shown)), [str(it.site) for it in shown])
        if found.gpu is not None:
            axes.axvline(found.gpu / unit, color=theme.ink, linewidth=1.2, linestyle="--")
            axes.annotate(
                f"GPU {in_bytes(found.gpu)}", (found.gpu / unit, 0), xytext=(-4, 4),
                xycoords=("data", "axes fraction"), textcoords="offset points", ha="right",
                fontsize=8,
            )  # fmt: skip


def _parts(found: Footprint, cache: MemoryPlan) -> tuple[int, int, int]:
    return found.weights, found.activations, cache.total_bytes


def _bar(axes: Axes, place: int, parts: Sequence[float], theme: Theme) -> None:
    """A stacked bar; the parts of the topmost one are named above it."""
    start, named = 0.0, 0.0  # where the next part, and its name, may begin
    for (part, hue), length in zip(PARTS.items(), parts):
        axes.barh(
            place, length, left=start, height=0.62, color=theme.colour(hue),
            edgecolor=theme.ground, linewidth=0.5,
        )  # fmt: skip
        if place == 0 and part != "cache":
            named = max(start, named)
            axes.text(named, -0.4, part, va="bottom", fontsize=8, color=theme.text(hue))
            named += axes.get_xlim()[1] * LETTER * (len(part) + 2)
        start += length
