"""Tables: the rows of an evaluation as CSV and as Markdown."""

from __future__ import annotations

import csv
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from forecastcache.whole import whole

Row = dict[str, Any]
# Title and form of each column; a column that no row fills is left out.
COLUMNS: dict[str, tuple[str, Callable[[Any], str]]] = {
    "name": ("", str),
    "computed": ("computed", str),
    "seconds": ("seconds", "{:.2f}".format),
    "speedup": ("times as fast", "{:.2f}".format),
    "flops_ratio": ("times fewer FLOPs", "{:.2f}".format),
    "cache_bytes": ("cache bytes", "{:,}".format),
    "peak_bytes": ("peak MB", lambda it: f"{it / 1e6:,.0f}"),
    "latent_psnr_db": ("latent PSNR, dB", "{:.1f}".format),
    "lead_db": ("lead, dB", "{:+.1f}".format),
    "psnr_db": ("PSNR, dB", "{:.1f}".format),
    "ssim": ("SSIM", "{:.4f}".format),
    "lpips": ("LPIPS", "{:.4f}".format),
    "judged": ("judged as asked", "{:.0%}".format),
    "frechet": ("Fréchet distance", "{:.1f}".format),
}
RATIOS = ("latent_psnr_db", "psnr_db")  # that identical samples have none of


def cells(rows: Sequence[Row]) -> tuple[list[str], list[list[str]]]:
    """Titles and cells; a row that failed says why behind its name."""
    used = {
        key: column
        for key, column in COLUMNS.items()
        if any(row.get(key) is not None for row in rows)
    }
    lines = []
    for row in rows:
        if "error" in row:
            lines.append([f"{row['name']}: {row['error']}"] + [""] * (len(used) - 1))
        else:
            lines.append([_cell(row, key, form) for key, (_, form) in used.items()])
    return [title for title, _ in used.values()], lines


def _cell(row: Row, key: str, form: Callable[[Any], str]) -> str:
    if row.get(key) is None:
        return "identical" if key in RATIOS and key in row else ""
    return form(row[key])


def remarks(rows: Sequence[Row]) -> list[str]:
    """What a reader of the table should know, a line each."""
    leads = any(row.get("lead_db") is not None for row in rows)
    missing = dict.fromkeys(row["lpips_missing"] for row in rows if row.get("lpips_missing"))
    return [
        *["Lead: latent PSNR above the nearest of the rivals that take no more FLOPs."] * leads,
        *(f"No LPIPS: {reason}" for reason in missing),
    ]


def markdown(rows: Sequence[Row]) -> str:
    """A table for a document, with the remarks below."""
    titles, lines = cells(rows)
    table = [titles, ["---", *["---:"] * (len(titles) - 1)], *lines]
    below = "".join(f"\n{remark}\n" for remark in remarks(rows))
    return "\n".join("| " + " | ".join(line) + " |" for line in table) + "\n" + below


def save_csv(rows: Sequence[Row], path: Path) -> None:
    """Every figure of one number, a line a row."""
    names = list(dict.fromkeys(key for row in rows for key, it in row.items() if not _long(it)))
    with whole(path) as partial, partial.open("w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, names, extrasaction="ignore")
        writer.writeheader()
        writer.writerows(rows)


def _long(value: Any) -> bool:
    return isinstance(value, list)
