"""Charts: an evaluation at a glance."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TypeVar

from matplotlib.axes import Axes
from matplotlib.figure import Figure

from forecastcache._moved import name_new_places
from forecastcache._util.atomic_write import atomic_write
from forecastcache.evaluation.measurement import Measurement
from forecastcache.evaluation.open_loop import FeatureErrors
from forecastcache.evaluation.trace import Trace

name_new_places(__name__)

Drawn = TypeVar("Drawn", Measurement, FeatureErrors)
TINY = 1e-16
LABELLED = 12  # rows, at most, whose names fit into a chart


def fidelity_against_speed(rows: Sequence[Measurement], path: Path) -> None:
    """Save latent PSNR against the FLOPs that are spared, with the Pareto front."""
    figure, axes = _empty("times fewer FLOPs than the plain run", "latent PSNR, dB")
    points = [
        (row.flops_ratio, psnr, row) for row, psnr in _judged(rows) if row.flops_ratio is not None
    ]
    for kind, marker in (("forecast", "o"), ("baseline", "s")):
        of_kind = [point for point in points if point[2].kind == kind]
        axes.plot([x for x, _, _ in of_kind], [y for _, y, _ in of_kind], marker, label=kind)
    axes.plot(*zip(*_front([(x, y) for x, y, _ in points])), "-", color="grey", zorder=0)
    axes.margins(x=0.3, y=0.1)
    if len(points) <= LABELLED:
        middle = sum(axes.get_xlim()) / 2
        for x, y, row in points:
            text, side = (f" {row.name}", "left") if x < middle else (f"{row.name} ", "right")
            axes.annotate(text, (x, y), fontsize=6, ha=side)
    _explain(axes)
    _save(figure, path)


def memory_against_fidelity(rows: Sequence[Measurement], path: Path) -> None:
    """Save latent PSNR against the bytes that a cache holds."""
    figure, axes = _empty("cache, bytes", "latent PSNR, dB")
    axes.set_xscale("log")
    points = [(row.line, row.cache_bytes, psnr) for row, psnr in _judged(rows) if row.cache_bytes]
    for line in dict.fromkeys(line for line, _, _ in points):
        axes.plot(*zip(*[(x, y) for name, x, y in points if name == line]), "o", label=line)
    _explain(axes)
    _save(figure, path)


def error_against_interval(rows: Sequence[Measurement], path: Path) -> None:
    """Save latent PSNR against the mean distance between computed steps, a line a predictor."""
    figure, axes = _empty("mean interval between computed steps", "latent PSNR, dB")
    points = [row for row, _ in _judged(rows) if row.interval]
    for line, of_line in _lines(points).items():
        pairs = sorted((row.interval, row.latent_psnr_db) for row in of_line)
        ours = of_line[0].kind == "forecast"
        axes.plot(*zip(*pairs), "o-" if ours else "s:", markersize=4, linewidth=1, label=line)
    _explain(axes)
    _save(figure, path)


def error_by_step(rows: Sequence[Measurement], path: Path) -> None:
    """Save the PSNR of the latents after every step, from where they leave the plain ones."""
    figure, axes = _empty("step", "latent PSNR, dB")
    shown = [row for row, _ in _judged(rows) if row.latent_psnr_by_step]
    for row in shown:
        values = [float("nan") if it is None else it for it in row.latent_psnr_by_step]
        axes.plot(values, label=row.name if len(shown) <= LABELLED else None)
    _explain(axes)
    _save(figure, path)


def _lines(rows: Sequence[Drawn]) -> dict[str, list[Drawn]]:
    """Rows that make one line, by its name."""
    return {
        line: [row for row in rows if row.line == line]
        for line in dict.fromkeys(row.line for row in rows)
    }


def _explain(axes: Axes) -> None:
    if axes.get_legend_handles_labels()[0]:
        axes.legend(fontsize=6)


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


def _empty(across: str, up: str) -> tuple[Figure, Axes]:
    figure = Figure(figsize=(7, 4.5), layout="constrained")
    axes = figure.add_subplot(xlabel=across, ylabel=up)
    axes.grid(alpha=0.3)
    return figure, axes


def _save(figure: Figure, path: Path) -> None:
    with atomic_write(path) as partial:
        figure.savefig(partial, dpi=150, format="png")


def trajectories(seen: Trace, path: Path) -> None:
    """Save the paths of features and their differences, the first step dark."""
    figure = Figure(figsize=(15, 3.3), layout="constrained")
    panels = figure.subplots(1, len(seen.paths))
    for order, (axes, points) in enumerate(zip(panels, seen.paths)):
        axes.plot(*points.T, color="grey", linewidth=0.5, zorder=0)
        axes.scatter(*points.T, c=range(len(points)), s=12)
        name = "features" if order == 0 else f"differences of order {order}"
        axes.set_title(f"{name} ({seen.explained[order]:.0%})", fontsize=9)
        axes.tick_params(labelsize=6)
    _save(figure, path)


def projections(seen: Trace, path: Path) -> None:
    """Save how far each feature lies outside the span of those before it, and the spectrum."""
    figure = Figure(figsize=(10, 3.5), layout="constrained")
    left, right = figure.subplots(1, 2)
    steps = range(1, len(seen.fidelity) + 1)
    left.semilogy(steps, 1 - seen.fidelity + TINY, label="all before it")
    left.semilogy(steps, 1 - seen.fidelity_newest + TINY, label="the newest three")
    left.set(xlabel="step", ylabel="1 - projection fidelity")
    left.legend()
    right.semilogy(range(1, len(seen.spectrum) + 1), seen.spectrum + TINY, marker=".")
    right.set(xlabel="direction", ylabel="share of the Gram matrix's trace")
    for axes in (left, right):
        axes.grid(alpha=0.3)
    _save(figure, path)


def feature_error_against_interval(rows: Sequence[FeatureErrors], path: Path) -> None:
    """Save relative errors of features, forecast in open loop, a line a predictor."""
    figure, axes = _empty("mean interval between computed steps", "relative error of features")
    axes.set_yscale("log")
    points = [row for row in rows if row.feature_error]
    for line, of_line in _lines(points).items():
        pairs = sorted((row.interval, row.feature_error) for row in of_line)
        axes.plot(*zip(*pairs), "o-", markersize=4, linewidth=1, label=line)
    _explain(axes)
    _save(figure, path)


def feature_error_by_step(rows: Sequence[FeatureErrors], path: Path) -> None:
    """Save relative errors of features, forecast in open loop, at every step that was forecast."""
    figure, axes = _empty("step", "relative error of features")
    axes.set_yscale("log")
    for row in rows:
        values = [float("nan") if it is None else it for it in row.feature_error_by_step]
        axes.plot(values, ".-", linewidth=1, label=row.name)
    _explain(axes)
    _save(figure, path)
