"""Tables: the rows of an evaluation as CSV and as Markdown."""

from __future__ import annotations

import csv
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from forecastcache._moved import name_new_places
from forecastcache._util.atomic_write import atomic_write
from forecastcache.errors import ForecastCacheError
from forecastcache.evaluation.measurement import Measurement
from forecastcache.metrics.metric import METRICS, Metric, metric_kind

name_new_places(__name__)

# Title and form of each column; a column that no row fills is left out.
COLUMNS: dict[str, tuple[str, Callable[[Any], str]]] = {
    "name": ("", str),
    "count": ("computed", str),
    "seconds": ("seconds", "{:.2f}".format),
    "speedup": ("speedup", "{:.2f}".format),
    "flops_ratio": ("times fewer FLOPs", "{:.2f}".format),
    "cache_bytes": ("cache bytes", "{:,}".format),
    "peak_bytes": ("peak MB", lambda it: f"{it / 1e6:,.0f}"),
    "latent_psnr_db": ("latent PSNR, dB", "{:.1f}".format),
    "lead_db": ("lead, dB", "{:+.1f}".format),
    "psnr_db": ("PSNR of samples, dB", "{:.1f}".format),
    "ssim": ("SSIM of samples", "{:.4f}".format),
    "lpips": ("LPIPS of samples", "{:.4f}".format),
    "judged": ("judged as asked", "{:.0%}".format),
    "frechet": ("Fréchet distance", "{:.1f}".format),
}
LEAD = "Lead: latent PSNR above the best baseline that takes no more FLOPs than the row."
RATIOS = ("latent_psnr_db", "psnr_db")  # that identical samples have none of


def cells(rows: Sequence[Measurement]) -> tuple[list[str], list[list[str]]]:
    """Titles and cells; a row that failed says why behind its name."""
    used = {
        key: column
        for key, column in _columns(rows).items()
        if any(_value(row, key) is not None for row in rows)
    }
    lines = []
    for row in rows:
        if row.failed:
            lines.append([f"{row.name}: {row.error}"] + [""] * (len(used) - 1))
        else:
            lines.append([_cell(row, key, form) for key, (_, form) in used.items()])
    return [title for title, _ in used.values()], lines


def _cell(row: Measurement, key: str, form: Callable[[Any], str]) -> str:
    value = _value(row, key)
    if value is None:
        return "identical" if key in RATIOS else ""
    return form(value)


def metric_names(rows: Sequence[Measurement]) -> list[str]:
    """Names of the further metrics of these rows."""
    return list(dict.fromkeys(name for row in rows for name in row.metrics))


def metric_title(name: str) -> str:
    """Title of the column of a metric."""
    kind = _kind(name)
    return name if kind is None else kind.title


def _columns(rows: Sequence[Measurement]) -> dict[str, tuple[str, Callable[[Any], str]]]:
    """All columns, in their order; further metrics come after LPIPS."""
    found = {}
    for key, column in COLUMNS.items():
        found[key] = column
        if key == "lpips":
            found |= {it: (metric_title(it), _form(it)) for it in metric_names(rows)}
    return found


def _form(metric: str) -> Callable[[Any], str]:
    return getattr(_kind(metric), "form", Metric.form).format


def _kind(metric: str) -> type[Metric] | None:
    """Its class; None where rows are of a metric that this process does not know by name."""
    try:
        return metric_kind(metric) if metric in METRICS.names() else None
    except ForecastCacheError:
        return None


def _remark(metric: str) -> str:
    kind = _kind(metric)
    about = "" if kind is None else (kind.__doc__ or "").strip().partition("\n")[0]
    return about and f"{metric_title(metric)}: {about} {metric_better(metric)}"


def metric_better(name: str) -> str:
    """Which way a metric is better, as a sentence."""
    return f"{getattr(_kind(name), 'better', 'more').capitalize()} is better."


def _value(row: Measurement, key: str) -> Any:
    return row.metrics[key] if key in row.metrics else getattr(row, key, None)


def remarks(rows: Sequence[Measurement]) -> list[str]:
    """What a reader of the table should know, a line each."""
    leads = any(row.lead_db is not None for row in rows)
    missing = dict.fromkeys(row.lpips_missing for row in rows if row.lpips_missing)
    return [
        *[LEAD] * leads,
        *(f"No LPIPS: {reason}" for reason in missing),
        *filter(None, map(_remark, metric_names(rows))),
    ]


def markdown(rows: Sequence[Measurement]) -> str:
    """A table for a document, with the remarks below."""
    titles, lines = cells(rows)
    table = [titles, ["---", *["---:"] * (len(titles) - 1)], *lines]
    below = "".join(f"\n{remark}\n" for remark in remarks(rows))
    return "\n".join("| " + " | ".join(line) + " |" for line in table) + "\n" + below


def text(rows: Sequence[Measurement]) -> str:
    """A table for a terminal, its columns aligned, with the remarks below."""
    titles, lines = cells(rows)
    widths = [max(map(len, column)) for column in zip(titles, *lines)]
    padded = (
        "  ".join([line[0].ljust(widths[0]), *map(str.rjust, line[1:], widths[1:])]).rstrip()
        for line in (titles, *lines)
    )
    return "\n".join([*padded, *remarks(rows)])


def save_csv(rows: Sequence[Measurement], path: Path) -> None:
    """Write every figure of one number, a line a row."""
    lines = [{**row.figures(), **row.metrics} for row in rows]
    names = list(
        dict.fromkeys(key for line in lines for key, it in line.items() if it is not None)
    )
    short = [
        name for name in names if not any(isinstance(it.get(name), (list, dict)) for it in lines)
    ]
    with atomic_write(path) as partial, partial.open("w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, short, extrasaction="ignore")
        writer.writeheader()
        writer.writerows(lines)
