"""Charts of the metrics that were asked for, one each."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from matplotlib.figure import Figure

from forecastcache._util.atomic_write import atomic_write
from forecastcache.evaluation.measurement import Measurement
from forecastcache.evaluation.tables import metric_names, metric_title


def chart_name(metric: str) -> str:
    """The file of the chart of a metric."""
    return f"{metric}-against-speed.png"


def save_metric_charts(rows: Sequence[Measurement], folder: Path) -> list[Path]:
    """Save each metric that was asked for against the FLOPs that are spared; gives the paths."""
    saved = []
    for metric in metric_names(rows):
        path = folder / chart_name(metric)
        _save(rows, metric, path)
        saved.append(path)
    return saved


def _save(rows: Sequence[Measurement], metric: str, path: Path) -> None:
    figure = Figure(figsize=(7, 4.5), layout="constrained")
    axes = figure.add_subplot(
        xlabel="times fewer FLOPs than the plain run", ylabel=metric_title(metric)
    )
    shown = [row for row in rows if row.metrics.get(metric) is not None and row.flops_ratio]
    for kind, marker in (("plain", "D"), ("forecast", "o"), ("baseline", "s")):
        of_kind = [row for row in shown if row.kind == kind]
        points = [(row.flops_ratio, row.metrics[metric]) for row in of_kind]
        if points:
            axes.plot(*zip(*points), marker, label=kind)
    for row in shown:
        axes.annotate(f" {row.name}", (row.flops_ratio or 1, row.metrics[metric] or 0), fontsize=6)
    if shown:
        axes.legend(fontsize=6)
    axes.margins(x=0.3, y=0.1)
    axes.grid(alpha=0.3)
    with atomic_write(path) as partial:
        figure.savefig(partial, dpi=150, format="png")
