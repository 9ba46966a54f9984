"""What the command line prints: tables for people."""

from __future__ import annotations

from typing import Any

from rich.console import Console
from rich.markup import escape
from rich.table import Table


def print_figures(figures: dict[str, Any]) -> None:
    """One comparison."""
    console = Console()
    computed, guidance = figures["computed"], figures["guidance_scale"]
    console.print(
        f"{figures['model']}, site {figures['site']}: {figures['predictor']}, "
        f"{figures['schedule']}",
        highlight=False,
    )
    console.print(
        f"{figures['steps']} steps, {len(computed)} computed: {' '.join(map(str, computed))}"
        + ("" if guidance is None else f"; guidance {guidance:g}"),
        highlight=False,
    )
    table = Table("", "plain", "forecast", "")
    for column in table.columns[1:3]:
        column.justify = "right"
    table.add_row(
        f"seconds for {figures['count']}",
        f"{figures['seconds_plain']:.2f}",
        f"{figures['seconds_forecast']:.2f}",
        f"{figures['speedup']:.2f} times as fast, ceiling {figures['ceiling']:.2f}",
    )
    if figures["flops_plain"] is not None:
        plain, forecast = figures["flops_plain"], figures["flops_forecast"]
        table.add_row(
            "GFLOPs of the model",
            f"{plain / 1e9:.1f}",
            f"{forecast / 1e9:.1f}",
            f"{plain / forecast:.2f} times fewer",
        )
    if figures["judged_plain"] is not None:
        table.add_row(
            "judged as asked",
            f"{figures['judged_plain']:.0%}",
            f"{figures['judged_forecast']:.0%}",
        )
    table.add_row("PSNR to plain", "", decibels(figures["psnr_db"]))
    table.add_row("SSIM to plain", "", f"{figures['ssim']:.4f}")
    planned = figures["cache_bytes_planned"]
    table.add_row(
        "cache bytes",
        "0",
        f"{figures['cache_bytes']:,}",
        "planned " + ("not" if planned is None else f"{planned:,}"),
    )
    console.print(table)


def decibels(value: float | None) -> str:
    """A PSNR; None is that of equal pictures."""
    return "identical" if value is None else f"{value:.1f} dB"


def print_list(found: dict[str, dict[str, str]]) -> None:
    """What is installed, kind by kind."""
    console = Console()
    for kind, entries in found.items():
        table = Table(title=kind, title_justify="left", show_header=False, box=None)
        for name, about in entries.items():
            table.add_row(f"[bold]{name}[/bold]", escape(about))
        console.print(table, "")
