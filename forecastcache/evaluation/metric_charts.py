"""Charts of the metrics that were asked for, one each."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from forecastcache.evaluation.charts import WIDE, scatter_against_speed, told_of
from forecastcache.evaluation.measurement import Measurement
from forecastcache.evaluation.style import LIGHT, Target, Theme, drawing
from forecastcache.evaluation.tables import metric_names, metric_title


def chart_name(metric: str) -> str:
    """The file of the chart of a metric."""
    return f"{metric}-against-speed.png"


def save_metric_charts(
    rows: Sequence[Measurement], folder: Path, model: str = "", theme: Theme = LIGHT
) -> list[Path]:
    """Save each metric that was asked for against the FLOPs that are spared; gives the paths."""
    paths = {metric: folder / chart_name(metric) for metric in metric_names(rows)}
    for metric, path in paths.items():
        metric_against_speed(rows, metric, path, model, theme)
    return [*paths.values()]


def metric_against_speed(
    rows: Sequence[Measurement],
    metric: str,
    target: Target,
    model: str = "",
    theme: Theme = LIGHT,
) -> None:
    """Save one metric against the FLOPs that are spared."""
    points = [
        (row.flops_ratio, figure, row)
        for row in rows
        if (figure := row.metrics.get(metric)) is not None and row.flops_ratio is not None
    ]
    title = metric_title(metric)
    with drawing(target, WIDE, f"{title} against cost", told_of(rows, model), theme) as drawn:
        scatter_against_speed(drawn, drawn.add_subplot(), points, title, [], theme)
