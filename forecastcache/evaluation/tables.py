"""Tables: the rows of an evaluation as CSV and as Markdown."""

from __future__ import annotations

import csv
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from forecastcache._moved import name_new_places
from forecastcache._util.atomic_write import atomic_write
from forecastcache.evaluation.measurement import Measurement

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
        for key, column in COLUMNS.items()
        if any(getattr(row, key) is not None for row in rows)
    }
    lines = []
    for row in rows:
        if row.failed:
            lines.append([f"{row.name}: {row.error}"] + [""] * (len(used) - 1))
        else:
            lines.append([_cell(row, key, form) for key, (_, form) in used.items()])
    return [title for title, _ in used.values()], lines


def _cell(row: Measurement, key: str, form: Callable[[Any], str]) -> str:
    value = getattr(row, key)
    if value is None:
        return "identical" if key in RATIOS else ""
    return form(value)


def remarks(rows: Sequence[Measurement]) -> list[str]:
    """What a reader of the table should know, a line each."""
    leads = any(row.lead_db is not None for row in rows)
    missing = dict.fromkeys(row.lpips_missing for row in rows if row.lpips_missing)
    return [
        *[LEAD] * leads,
        *(f"No LPIPS: {reason}" for reason in missing),
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
    lines = [row.figures() for row in rows]
    names = list(
        dict.fromkeys(key for line in lines for key, it in line.items() if it is not None)
    )
    short = [name for name in names if not any(isinstance(it.get(name), list) for it in lines)]
    with atomic_write(path) as partial, partial.open("w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, short, extrasaction="ignore")
        writer.writeheader()
        writer.writerows(lines)
