"""Charts: an evaluation at a glance."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TypeVar

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter

from forecastcache._moved import name_new_places
from forecastcache.evaluation.labels import Label, label_ends, label_points
from forecastcache.evaluation.measurement import Measurement
from forecastcache.evaluation.open_loop import FeatureErrors
from forecastcache.evaluation.style import (
    LIGHT,
    Look,
    Target,
    Theme,
    about,
    clipped,
    drawing,
    family_of,
    looks,
    named_axes,
    plain_ticks,
    powers_of_ten,
)

name_new_places(__name__)

Drawn = TypeVar("Drawn", Measurement, FeatureErrors)
PANELS = 8  # of small multiples
PSNR = "latent PSNR to the plain run (dB)"
SPARED = "FLOPs of the plain run / FLOPs (times)"
INTERVAL = "mean interval between computed steps (steps)"
RATIOS = (1, 1.5, 2, 3, 4, 5, 6, 8, 10, 15, 20, 30, 50, 100)
WIDE = (7.6, 4.4)  # inches


def fidelity_against_speed(
    rows: Sequence[Measurement], target: Target, model: str = "", theme: Theme = LIGHT
) -> None:
    """Save latent PSNR against the FLOPs that are spared, with the Pareto front named."""
    points = [
        (row.flops_ratio, psnr, row) for row, psnr in _judged(rows) if row.flops_ratio is not None
    ]
    front = _front([(x, y) for x, y, _ in points])
    note = f"{told_of(rows, model)}; up and right is better, the grey band is the Pareto front"
    with drawing(target, WIDE, "Fidelity against cost", note, theme) as figure:
        axes = figure.add_subplot()
        axes.plot(*zip(*front), "-", color=theme.grid, linewidth=7, zorder=0.5)
        alone = [row.name for x, y, row in points if (x, y) in front]
        scatter_against_speed(figure, axes, points, PSNR, alone, theme)


def memory_against_fidelity(
    rows: Sequence[Measurement], target: Target, model: str = "", theme: Theme = LIGHT
) -> None:
    """Save latent PSNR against the bytes that a cache holds."""
    points = [(row.cache_bytes, psnr, row) for row, psnr in _judged(rows) if row.cache_bytes]
    with drawing(target, WIDE, "Fidelity against memory", told_of(rows, model), theme) as figure:
        axes = named_axes(figure.add_subplot(), "cache, measured (bytes)", PSNR)
        axes.set_xscale("log", base=2)
        axes.xaxis.set_major_formatter(FuncFormatter(lambda value, _: in_bytes(value)))
        _scatter(figure, axes, points, [], theme)


def error_against_interval(
    rows: Sequence[Measurement], target: Target, model: str = "", theme: Theme = LIGHT
) -> None:
    """Save latent PSNR against the mean distance between computed steps, a line a predictor."""
    points = [(row.interval, psnr, row) for row, psnr in _judged(rows) if row.interval is not None]
    title = "Fidelity against the interval"
    _lines_with_ends(points, target, title, INTERVAL, PSNR, told_of(rows, model), theme)


def feature_error_against_interval(
    rows: Sequence[FeatureErrors], target: Target, model: str = "", theme: Theme = LIGHT
) -> None:
    """Save relative errors of features, forecast in open loop, a line a predictor."""
    points = [(row.interval, row.feature_error, row) for row in rows if row.feature_error]
    title, up = "Error of forecasts in open loop", "relative error of features (no unit)"
    note = about(model, _steps_of(rows), None)
    _lines_with_ends(points, target, title, INTERVAL, up, note, theme, log=True)


def error_by_step(
    rows: Sequence[Measurement], target: Target, model: str = "", theme: Theme = LIGHT
) -> None:
    """Save the PSNR of the latents after every step, a panel a row, of the best eight.

    Ticks at the bottom are the computed steps.
    """
    judged = [row for row, _ in _judged(rows) if row.latent_psnr_by_step]
    values = {row.name: _drawable(row.latent_psnr_by_step) for row in judged}
    note = told_of(rows, model)
    _panels(best(judged), values, target, "Fidelity by step", "latent PSNR (dB)", note, theme)


def feature_error_by_step(
    rows: Sequence[FeatureErrors], target: Target, model: str = "", theme: Theme = LIGHT
) -> None:
    """Save relative errors of features, forecast in open loop, at every step that was forecast."""
    values = {row.name: _drawable(row.feature_error_by_step) for row in rows}
    title, note = "Error of forecasts in open loop, by step", about(model, _steps_of(rows), None)
    shown = rows[:PANELS]
    _panels(shown, values, target, title, "relative error", note, theme, log=True)


def best(rows: Sequence[Measurement], most: int = PANELS) -> list[Measurement]:
    """The best row of each line and then the next best, at most so many, best first."""
    ranked = sorted(rows, key=lambda row: -(row.latent_psnr_db or 0))
    lines = dict.fromkeys(row.line for row in ranked)
    firsts = [next(row for row in ranked if row.line == line) for line in lines]
    rest = [row for row in ranked if row not in firsts]
    kept = [*firsts, *rest][:most]
    return [row for row in ranked if row in kept]


def in_bytes(count: float) -> str:
    """Bytes in a few letters, such as 48 KiB."""
    power = min(4, max(0, int(math.log2(count)) // 10)) if count >= 1 else 0
    value, unit = count / 1024**power, ("bytes", "KiB", "MiB", "GiB", "TiB")[power]
    return f"{value:.0f} {unit}" if value >= 10 or value == int(value) else f"{value:.1f} {unit}"


def _lines_with_ends(
    points: Sequence[tuple[float, float, Drawn]],
    target: Target,
    title: str,
    across: str,
    up: str,
    note: str,
    theme: Theme,
    log: bool = False,
) -> None:
    """A line for each name, which is written at its end."""
    with drawing(target, WIDE, title, note, theme, right=2.2) as figure:
        axes = named_axes(figure.add_subplot(), across, up)
        if log:
            powers_of_ten(axes)
        ends, site = list[Label](), _site_of([row for _, _, row in points])
        for line, look in _looks([row for _, _, row in points]).items():
            own = sorted((x, y) for x, y, row in points if row.line == line)
            _line(axes, own, look, theme)
            ends.append(Label(*own[-1], line.removesuffix(site), look.hue, look.ours))
        label_ends(axes, ends, theme)


def _panels(
    shown: Sequence[Drawn],
    values: dict[str, list[float]],
    target: Target,
    title: str,
    up: str,
    note: str,
    theme: Theme,
    log: bool = False,
) -> None:
    """Small multiples: each row in a panel of its own, before the others in grey."""
    if len(shown) < len(values):
        note += f"; {len(shown)} of {len(values)} rows, the best of each method first"
    columns = min(4, max(1, len(shown)))
    lines = max(1, -(-len(shown) // columns))
    size = (max(4.5, 2.3 * columns), 1.9 * lines + 0.7)
    with drawing(target, size, title, note, theme) as figure:
        grid = figure.subplots(lines, columns, squeeze=False, sharex=True, sharey=True)
        looked, site = _looks(shown), _site_of(shown)
        for axes, row in zip(grid.flat, shown):
            named_axes(axes, "", "")
            for other in shown:
                axes.plot(values[other.name], color=theme.grid, linewidth=0.8, zorder=1)
            look = looked[row.line]
            colour = theme.colour(look.hue)
            axes.plot(values[row.name], ".-", color=colour, linewidth=1.6, markersize=3, zorder=3)
            axes.plot(
                row.computed or (), [0.02] * len(row.computed or ()), "|", color=theme.ink,
                markersize=5, transform=axes.get_xaxis_transform(),
            )  # fmt: skip
            axes.set_title(
                clipped(row.name.removesuffix(site), 30), fontsize=8, color=theme.text(look.hue)
            )
            if log:
                powers_of_ten(axes)
        for axes in list(grid.flat)[len(shown) :]:
            axes.set_visible(False)
        figure.supxlabel("step (ticks at the bottom: computed steps)", fontsize=9)
        figure.supylabel(up, fontsize=9)


def _line(axes: Axes, own: Sequence[tuple[float, float]], look: Look, theme: Theme) -> None:
    axes.plot(
        *zip(*own), marker=look.marker, color=theme.colour(look.hue), linewidth=look.width,
        zorder=3 if look.ours else 2,
    )  # fmt: skip


def scatter_against_speed(
    figure: Figure,
    axes: Axes,
    points: Sequence[tuple[float, float, Measurement]],
    up: str,
    alone: Sequence[str],
    theme: Theme,
) -> None:
    """A line for each method over the FLOPs that are spared; `up` names the other axis."""
    named_axes(axes, SPARED, up)
    axes.set_xscale("log")
    _scatter(figure, axes, points, alone, theme)
    plain_ticks(axes, RATIOS, [f"{it:g}" for it in RATIOS])


def _scatter(
    figure: Figure,
    axes: Axes,
    points: Sequence[tuple[float, float, Measurement]],
    alone: Sequence[str],
    theme: Theme,
) -> None:
    """A line for each method, named at its best point; rows of some names, each by itself.

    Args:
        figure: figure of the chart.
        axes: axes to draw in.
        points: place and row of each point.
        alone: names of rows that are named by themselves.
        theme: colours.
    """
    looked, labels = _looks([row for _, _, row in points]), list[Label]()
    site = _site_of([row for _, _, row in points])
    own = {line: sorted(it[:2] for it in points if it[2].line == line) for line in looked}
    for line, look in looked.items():
        _line(axes, own[line], look, theme)
    told = set[str]()
    for x, y, row in sorted(points, key=lambda it: -it[1]):
        look, top = looked[row.line], max(own[row.line], key=lambda it: it[1])
        if row.name in alone or ((x, y) == top and row.line not in told):
            text = row.name if row.name in alone else row.line
            # The second point of a line is named by what tells it from the first.
            text = text.partition(" ")[2] or text if row.line in told else text
            labels.append(Label(x, y, text.removesuffix(site), look.hue, look.ours))
            told.add(row.line)
    axes.margins(x=0.16, y=0.14)
    left = {it.text for it in label_points(axes, labels, list(own.values()), theme)}
    for line, look in looked.items():
        if line.removesuffix(site) in left:
            text = clipped(line.removesuffix(site), 34)
            axes.plot([], [], look.marker, color=theme.colour(look.hue), label=text)
    if axes.get_legend_handles_labels()[0]:
        figure.legend(loc="outside lower left", ncols=3)


def _looks(rows: Sequence[Drawn]) -> dict[str, Look]:
    return looks((row.line, family_of(row.line, getattr(row, "predictor", None))) for row in rows)


def _drawable(figures: Sequence[float | None]) -> list[float]:
    return [float("nan") if it is None else it for it in figures]


def told_of(rows: Sequence[Measurement], model: str) -> str:
    """Model, steps, samples and site of an evaluation, for the line below a title."""
    steps = max((row.steps or 0 for row in rows), default=0)
    note = about(model, steps, max((row.samples or 0 for row in rows), default=0))
    site = _site_of([row for row, _ in _judged(rows)])
    return note + (f", forecast at {site[2:]}" if site else "")


def _site_of(rows: Sequence[Drawn]) -> str:
    """What ends the name of each forecast row, where all have the same site; else nothing."""
    names = [row.name for row in rows if getattr(row, "kind", "forecast") == "forecast"]
    ends = {name.rpartition(", ")[2] for name in names}
    return f", {ends.pop()}" if len(ends) == 1 and all(", " in name for name in names) else ""


def _steps_of(rows: Sequence[FeatureErrors]) -> int | None:
    return max((len(row.feature_error_by_step) for row in rows), default=None)


def _judged(rows: Sequence[Measurement]) -> list[tuple[Measurement, float]]:
    """Rows other than the plain run with their latent PSNR, where they have one."""
    return [
        (row, row.latent_psnr_db)
        for row in rows
        if row.kind != "plain" and row.latent_psnr_db is not None
    ]


def _front(points: Sequence[tuple[float, float]]) -> list[tuple[float, float]]:
    """Points than which none is both faster and nearer, slowest first."""
    front: list[tuple[float, float]] = []
    for x, y in sorted(points, key=lambda point: (-point[0], -point[1])):
        if not front or y > front[-1][1]:
            front.append((x, y))
    return front[::-1] or [(1.0, float("nan"))]
