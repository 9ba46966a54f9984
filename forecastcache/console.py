"""What the command line prints: tables for people."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

from rich.console import Console
from rich.markup import escape
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    TaskID,
    TextColumn,
    TimeRemainingColumn,
)
from rich.table import Table

from forecastcache.budget import in_mebibytes
from forecastcache.planning import Plan

WIDE = 1000  # columns
FEW = 64  # samples below which a Fréchet distance says nothing


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
        if figures["count"] >= FEW:
            table.add_row(
                "Fréchet distance",
                f"{figures['frechet_plain']:.1f}",
                f"{figures['frechet_forecast']:.1f}",
                "to real ones, in the judge's features",
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


def print_calibration(figures: dict[str, Any]) -> None:
    """What a calibration has learned."""
    console = Console()
    identity = figures["identity"]
    console.print(
        f"{identity['model']['name']} with {identity['scheduler']['name']}, "
        f"{identity['steps']} steps; {figures['prompts']} prompts at "
        f"{', '.join(figures['sizes'])}. Open loop serves any schedule",
        highlight=False,
    )
    if figures["fits"]:
        print_offers([{**fit, "loop": "closed"} for fit in figures["fits"]], identity["steps"])


def print_offers(offers: Sequence[dict[str, Any]], steps: int) -> None:
    """Schedules with what they are expected to come to."""
    table = Table("computed", "times fewer", "PSNR", "rows", "steps")
    for column in table.columns[:3]:
        column.justify = "right"
    for offer in offers:
        computed = offer["computed"]
        table.add_row(
            str(len(computed)),
            f"{steps / len(computed):.1f}",
            f"{offer['psnr_db']:.1f} dB",
            offer["loop"],
            " ".join(map(str, computed)),
        )
    Console().print(table)


def print_rows(titles: Sequence[str], lines: Sequence[Sequence[str]]) -> None:
    """The rows of an evaluation."""
    table = Table(*titles)
    for column in table.columns[1:]:
        column.justify = "right"
    for line in lines:
        table.add_row(*map(escape, line))
    console = Console()
    if not console.is_terminal:  # a file or a pipe has no edge to break lines at
        console = Console(width=WIDE)
    console.print(table)


@contextmanager
def progress(quiet: bool) -> Iterator[Callable[[str, int, int], None]]:
    """A bar a stage, with the time left; gives what to call with (stage, done, of)."""
    columns = (
        TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn()
    )  # fmt: skip
    with Progress(*columns, disable=quiet, console=Console(stderr=True)) as bars:
        tasks: dict[str, TaskID] = {}

        def tell(stage: str, done: int, of: int) -> None:
            if stage not in tasks:
                tasks[stage] = bars.add_task(stage, total=of)
            bars.update(tasks[stage], completed=done)

        yield tell


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


def print_plan(plan: Plan) -> None:
    """What a cache will hold, sites that differ by their block alone in one row."""
    console = Console()
    console.print(
        f"{plan.model}, site {plan.site}: {plan.depth} features a site in {plan.dtype}, "
        f"{plan.branches} branch{'es' * (plan.branches > 1)}",
        highlight=False,
    )
    table = Table("site", "sites", "feature", "bytes a branch")
    for column in (table.columns[1], table.columns[3]):
        column.justify = "right"
    table.columns[0].overflow = "fold"
    for pattern, count, site in plan.groups():
        shapes = " and ".join(" x ".join(map(str, shape)) for shape in site.shapes)
        table.add_row(pattern or "the model", str(count), shapes, f"{count * site.bytes:,}")
    console.print(table)
    total = plan.total_bytes
    exact, brief = f"{total:,} bytes", in_mebibytes(total)
    console.print(f"in all {exact}" + (f", {brief}" if brief != exact else ""), highlight=False)
