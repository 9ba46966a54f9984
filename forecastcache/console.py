"""What the command line prints: tables for people."""

from __future__ import annotations

from typing import Any

from rich.console import Console
from rich.markup import escape
from rich.table import Table

from forecastcache.predictors.explanation import Explanation


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


def print_explanation(explanation: Explanation) -> None:
    """A row, its differences, its noise gain and its exactness."""
    console = Console()
    steps = " ".join(str(step.index) for step in explanation.computed)
    console.print(
        f"{explanation.predictor} forecasts step {explanation.target.index} from steps {steps}",
        highlight=False,
    )
    kind = "backward" if explanation.even else "divided"
    table = Table("step", "weight", "order", f"coefficient of the {kind} difference")
    for column in table.columns:
        column.justify = "right"
    orders = list(enumerate(explanation.differences))
    for i, (step, weight) in enumerate(zip(explanation.computed[::-1], explanation.row[::-1])):
        difference = (str(orders[i][0]), f"{orders[i][1]:.6g}") if i < len(orders) else ("", "")
        table.add_row(str(step.index), f"{weight:.6g}", *difference)
    console.print(table)
    console.print(f"noise gain {explanation.noise_gain:.4g}; {_exactness(explanation)}")


def _exactness(explanation: Explanation) -> str:
    if explanation.degree < 0:
        return "not exact, not even on constants"
    names = ("constants", "straight lines", "parabolas", "cubics")
    if explanation.degree < len(names):
        return f"exact on {names[explanation.degree]} (degree {explanation.degree})"
    return f"exact on polynomials of degree {explanation.degree}"
