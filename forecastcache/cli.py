"""The command line: what it is called with, what it prints. All work is done elsewhere."""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Any, NoReturn

import typer
from rich.console import Console
from rich.table import Table

from forecastcache import zoo
from forecastcache.adapter import GRANULARITIES, Adapter, Granularity
from forecastcache.errors import ForecastCacheError, OptionError, UnknownNameError
from forecastcache.options import describe_options
from forecastcache.predictor import Predictor
from forecastcache.registry import ADAPTERS, PREDICTORS, SCHEDULES
from forecastcache.schedule import Every, Listed, Schedule

DTYPES = {"float32": "float32", "bfloat16": "bfloat16", "float16": "float16"}
DTYPES |= {"fp32": "float32", "bf16": "bfloat16", "fp16": "float16"}

app = typer.Typer(
    help="Forecast the features of diffusion models instead of computing them all.",
    no_args_is_help=True,
    add_completion=False,
)


def run_app(arguments: list[str] | None = None) -> NoReturn:
    """Run and exit: 0 on success, 2 with one line on standard error for a mistake of the user."""
    try:
        sys.exit(app(arguments, standalone_mode=False) or 0)
    except ForecastCacheError as error:
        _refuse(str(error))
    except typer.Abort:
        sys.exit(130)
    except Exception as error:
        # A mistake in the arguments; typer's own classes for it moved between its versions.
        if not hasattr(error, "format_message"):
            raise
        _refuse(error.format_message())


def _refuse(message: str) -> NoReturn:
    if message:
        print("forecastcache: " + " ".join(message.split()), file=sys.stderr)
    sys.exit(2)


@app.command()
def run(
    model: Annotated[str, typer.Argument(help="zoo:NAME, a pipeline's folder or a hub id")],
    predictor: Annotated[str, typer.Option(help="by name; see list")] = "taylor",
    order: Annotated[int | None, typer.Option(help="of the predictor")] = None,
    interval: Annotated[int | None, typer.Option(help="between computed steps [5]")] = None,
    first: Annotated[int | None, typer.Option(help="leading computed steps [3]")] = None,
    schedule: Annotated[
        str | None, typer.Option(help="the computed steps themselves: 0,1,2,8,20")
    ] = None,
    site: Annotated[str, typer.Option(help=", ".join(GRANULARITIES))] = "output",
    steps: Annotated[int, typer.Option(min=1, help="of a trajectory")] = 50,
    seed: Annotated[int, typer.Option(min=0, max=2**62, help="of the first picture")] = 0,
    count: Annotated[int | None, typer.Option(min=1, help="pictures")] = None,
    classes: Annotated[str | None, typer.Option(help="labels or numbers: 'red seven,12'")] = None,
    prompts: Annotated[Path | None, typer.Option(help="file, a prompt a line")] = None,
    guidance_scale: Annotated[float | None, typer.Option(min=0, max=1000)] = None,
    device: Annotated[str, typer.Option()] = "cpu",
    dtype: Annotated[str, typer.Option(help=", ".join(DTYPES))] = "float32",
    out: Annotated[Path, typer.Option(help="folder of the picture")] = Path("forecastcache-run"),
    as_json: Annotated[bool, typer.Option("--json", help="one JSON object")] = False,
) -> None:
    """Sample MODEL plainly and with forecasting, side by side, with the figures."""
    chosen_site = _choose("site", site, {name: name for name in GRANULARITIES})
    chosen_dtype = _choose("dtype", dtype, DTYPES)
    chosen_predictor = _predictor(predictor, order)
    chosen_schedule = _schedule(schedule, interval, first)
    chosen_schedule.check(steps)
    _require_writable(out)
    if guidance_scale is None and model.startswith(zoo.PREFIX):
        guidance_scale = zoo.recipe(model).GUIDANCE_SCALE
    request_fields: dict[str, Any] = {
        "steps": steps,
        "seed": seed,
        "count": count,
        "classes": [name.strip() for name in classes.split(",")] if classes else (),
        "prompts": _read_prompts(prompts) if prompts else (),
        "guidance_scale": guidance_scale,
    }
    figures, sheet = _run(
        model, device, chosen_dtype, request_fields, chosen_schedule, chosen_predictor,
        chosen_site, out,
    )  # fmt: skip
    asked = {"model": model, "seed": seed, "guidance_scale": guidance_scale}
    figures = {**asked, **figures, "picture": str(sheet)}
    if as_json:
        print(json.dumps(figures, indent=2))
    else:
        _print_figures(figures)
        print(sheet)


def _run(
    model: str,
    device: str,
    dtype: str,
    request_fields: dict[str, Any],
    schedule: Schedule,
    predictor: Predictor,
    site: Granularity,
    out: Path,
) -> tuple[dict[str, Any], Path]:
    # Imported here: diffusers and matplotlib take seconds that a refused option need not wait for.
    import torch
    from diffusers.utils import logging

    from forecastcache.evaluation.comparison import compare
    from forecastcache.evaluation.pictures import contact_sheet
    from forecastcache.evaluation.sampling import Request, load

    logging.set_verbosity_error()
    logging.disable_progress_bar()
    zoo_model = model if model.startswith(zoo.PREFIX) else None
    request = Request(**request_fields)
    pipe = load(model, device, getattr(torch, dtype))
    request.arguments(pipe)  # refuses before the first run
    result = compare(pipe, request, schedule, predictor, site, zoo_model)
    figures = result.figures()
    stem = model.removeprefix(zoo.PREFIX).strip("/").replace("/", "-")
    sheet = out / f"{stem}-{type(predictor).__name__.lower()}-{site}.png"
    try:
        contact_sheet(
            result.plain,
            result.forecast,
            title=f"{model}: {result.report.steps} steps, {len(result.report.computed)} computed, "
            f"{result.report.predictor} at {site}",
            caption=_caption(figures),
            path=sheet,
        )
    except OSError as error:
        raise OptionError(
            f"{sheet} cannot be written ({error.strerror}): give another --out"
        ) from None
    return figures, sheet


def _caption(figures: dict[str, Any]) -> str:
    return (
        f"{figures['speedup']:.2f} times as fast (ceiling {figures['ceiling']:.2f}), "
        f"PSNR {_decibels(figures['psnr_db'])}, SSIM {figures['ssim']:.4f}, "
        f"cache {figures['cache_bytes']:,} bytes"
    )


def _print_figures(figures: dict[str, Any]) -> None:
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
    table.add_row("PSNR to plain", "", _decibels(figures["psnr_db"]))
    table.add_row("SSIM to plain", "", f"{figures['ssim']:.4f}")
    planned = figures["cache_bytes_planned"]
    table.add_row(
        "cache bytes",
        "0",
        f"{figures['cache_bytes']:,}",
        "planned " + ("not" if planned is None else f"{planned:,}"),
    )
    console.print(table)


def _decibels(value: float | None) -> str:
    return "identical" if value is None else f"{value:.1f} dB"


@app.command(name="list")
def list_(
    as_json: Annotated[bool, typer.Option("--json", help="one JSON object")] = False,
) -> None:
    """Show what is installed: predictors, schedules, adapters with their sites, zoo models."""
    found = {
        "predictors": {name: _summary(kind) for name, kind in PREDICTORS.items()},
        "schedules": {name: _summary(kind) for name, kind in SCHEDULES.items()},
        "adapters": {name: _serves(adapter) for name, adapter in ADAPTERS.items()},
        "zoo": {zoo.PREFIX + name: about for name, about in zoo.MODELS.items()},
    }
    if as_json:
        print(json.dumps(found, indent=2))
        return
    console = Console()
    for kind, entries in found.items():
        table = Table(title=kind, title_justify="left", show_header=False, box=None)
        for name, about in entries.items():
            table.add_row(f"[bold]{name}[/bold]", about)
        console.print(table, "")


def _summary(kind: type) -> str:
    first_line = (kind.__doc__ or "").strip().partition("\n")[0]
    options = describe_options(kind)
    return f"{first_line} ({options})" if options else first_line


def _serves(adapter: Adapter) -> str:
    return f"{', '.join(adapter.models)}: {', '.join(adapter.granularities)}"


def _choose(option: str, value: str, known: dict[str, Any]) -> Any:
    if value not in known:
        raise UnknownNameError(f"--{option} {value} is not known: write one of {', '.join(known)}")
    return known[value]


def _predictor(name: str, order: int | None) -> Predictor:
    make: Callable[..., Predictor] = PREDICTORS.get(name)
    return make() if order is None else make(order=order)


def _schedule(listed: str | None, interval: int | None, first: int | None) -> Schedule:
    if listed is None:
        return Every(
            interval=5 if interval is None else interval, first=3 if first is None else first
        )
    if interval is not None or first is not None:
        raise OptionError("--schedule lists the computed steps: leave out --interval and --first")
    try:
        return Listed([int(part) for part in listed.split(",")])
    except ValueError as error:
        if isinstance(error, OptionError):
            raise
        raise OptionError(
            f"--schedule {listed} is no list of steps: write such as 0,1,2,8,20"
        ) from None


def _read_prompts(path: Path) -> list[str]:
    if not path.is_file():
        raise UnknownNameError(f"--prompts {path} is no file: give a text file, a prompt a line")
    try:
        text = path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError):
        raise OptionError(f"--prompts {path} is no text: give a text file in UTF-8") from None
    prompts = [line.strip() for line in text.splitlines() if line.strip()]
    if not prompts:
        raise OptionError(f"--prompts {path} is empty: write a prompt a line")
    return prompts


def _require_writable(out: Path) -> None:
    try:
        nearest = next(place for place in (out, *out.absolute().parents) if place.exists())
    except OSError as error:
        raise OptionError(f"--out cannot be used ({error.strerror}): give a folder") from None
    if not nearest.is_dir() or not os.access(nearest, os.W_OK):
        raise OptionError(f"--out {out} cannot be written, because of {nearest}: give a folder")
