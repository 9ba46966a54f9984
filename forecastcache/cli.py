"""The command line: what it is called with, what it prints. All work is done elsewhere."""

from __future__ import annotations

import json
import sys
import warnings
from pathlib import Path
from typing import Annotated, Any, NoReturn

import typer

from forecastcache import zoo
from forecastcache.adapter import GRANULARITIES, Adapter, Granularity
from forecastcache.arguments import (
    choose,
    predictor_from,
    read_prompts,
    require_writable,
    schedule_from,
    steps_from,
    with_times,
)
from forecastcache.console import decibels, print_figures, print_list, print_plan
from forecastcache.errors import ForecastCacheError, OptionError
from forecastcache.options import describe_options
from forecastcache.planning import plan, planned_model, published_names
from forecastcache.predictor import Predictor
from forecastcache.predictors.explanation import explain
from forecastcache.registry import ADAPTERS, PREDICTORS, SCHEDULES
from forecastcache.schedule import Schedule
from forecastcache.size import Size

DTYPES = {"float32": "float32", "bfloat16": "bfloat16", "float16": "float16"}
DTYPES |= {"fp32": "float32", "bf16": "bfloat16", "fp16": "float16"}

Order = Annotated[int | None, typer.Option(help="of the predictor, as --set order=")]
Settings = Annotated[
    list[str], typer.Option("--set", help="an option of the predictor: sigma=0.5")
]
Site = Annotated[str, typer.Option(help=", ".join(GRANULARITIES))]
Dtype = Annotated[str, typer.Option(help=", ".join(DTYPES))]
AsJson = Annotated[bool, typer.Option("--json", help="one JSON object")]

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
    predictor: Annotated[
        str, typer.Option(help="a name, or name:option=value,...; see list")
    ] = "taylor",
    order: Order = None,
    settings: Settings = [],  # noqa: B006  # typer copies it
    interval: Annotated[int | None, typer.Option(help="between computed steps [5]")] = None,
    first: Annotated[int | None, typer.Option(help="leading computed steps [3]")] = None,
    schedule: Annotated[
        str | None, typer.Option(help="the computed steps themselves: 0,1,2,8,20")
    ] = None,
    site: Site = "output",
    steps: Annotated[int, typer.Option(min=1, help="of a trajectory")] = 50,
    seed: Annotated[int, typer.Option(min=0, max=2**62, help="of the first picture")] = 0,
    count: Annotated[int | None, typer.Option(min=1, help="pictures")] = None,
    classes: Annotated[str | None, typer.Option(help="labels or numbers: 'red seven,12'")] = None,
    prompts: Annotated[Path | None, typer.Option(help="file, a prompt a line")] = None,
    guidance_scale: Annotated[float | None, typer.Option(min=0, max=1000)] = None,
    device: Annotated[str, typer.Option()] = "cpu",
    dtype: Dtype = "float32",
    out: Annotated[Path, typer.Option(help="folder of the picture")] = Path("forecastcache-run"),
    as_json: AsJson = False,
) -> None:
    """Sample MODEL plainly and with forecasting, side by side, with the figures."""
    chosen_site = choose("site", site, {name: name for name in GRANULARITIES})
    chosen_dtype = choose("dtype", dtype, DTYPES)
    chosen_predictor = predictor_from(predictor, order, settings)
    chosen_schedule = schedule_from(schedule, interval, first)
    chosen_schedule.check(steps)
    chosen_predictor.check(steps, chosen_schedule.foreseen(steps))
    require_writable(out)
    request_fields: dict[str, Any] = {
        "steps": steps,
        "seed": seed,
        "count": count,
        "classes": [name.strip() for name in classes.split(",")] if classes else (),
        "prompts": read_prompts(prompts) if prompts else (),
        "guidance_scale": guidance_scale,
    }
    figures, saved = _run(
        model, device, chosen_dtype, request_fields, chosen_schedule, chosen_predictor,
        chosen_site, out,
    )  # fmt: skip
    asked = {"model": model, "seed": seed}
    figures = {**asked, **figures, **{kind: str(path) for kind, path in saved.items()}}
    if as_json:
        print(json.dumps(figures, indent=2))
    else:
        print_figures(figures)
        print(*saved.values(), sep="\n")


def _run(
    model: str,
    device: str,
    dtype: str,
    request_fields: dict[str, Any],
    schedule: Schedule,
    predictor: Predictor,
    site: Granularity,
    out: Path,
) -> tuple[dict[str, Any], dict[str, Path]]:
    # Imported here: diffusers and matplotlib take seconds that a refused option need not wait for.
    import torch
    from diffusers.utils import logging

    from forecastcache.evaluation.comparison import compare
    from forecastcache.evaluation.pictures import contact_sheet, film
    from forecastcache.sampling import Request, load

    logging.set_verbosity_error()
    logging.disable_progress_bar()
    zoo_model = model if model.startswith(zoo.PREFIX) else None
    with warnings.catch_warnings():
        warnings.simplefilter("always")
        warnings.showwarning = _warn
        request = Request.of(model, **request_fields)
    pipe = load(model, device, getattr(torch, dtype))
    request.arguments(pipe)  # refuses before the first run
    result = compare(pipe, request, schedule, predictor, site, zoo_model)
    figures = result.figures()
    figures |= {"guidance_scale": request.guidance(pipe)}
    stem = model.removeprefix(zoo.PREFIX).strip("/").replace("/", "-")
    sheet = out / f"{stem}-{type(predictor).__name__.lower()}-{site}.png"
    saved = {"picture": sheet}
    try:
        contact_sheet(
            result.plain,
            result.forecast,
            title=f"{model}: {result.report.steps} steps, {len(result.report.computed)} computed, "
            f"{result.report.predictor} at {site}",
            caption=_caption(figures),
            path=sheet,
        )
        if result.plain.dim() == 5:
            saved["film"] = sheet.with_suffix(".gif")
            film(result.plain, result.forecast, saved["film"])
    except OSError as error:
        raise OptionError(
            f"{list(saved.values())[-1]} cannot be written ({error.strerror}): give another --out"
        ) from None
    return figures, saved


def _warn(message: Warning | str, *_: object, **__: object) -> None:
    print("forecastcache: " + " ".join(str(message).split()), file=sys.stderr)


def _caption(figures: dict[str, Any]) -> str:
    return (
        f"{figures['speedup']:.2f} times as fast (ceiling {figures['ceiling']:.2f}), "
        f"PSNR {decibels(figures['psnr_db'])}, SSIM {figures['ssim']:.4f}, "
        f"cache {figures['cache_bytes']:,} bytes"
    )


@app.command(name="explain")
def explain_(
    predictor: Annotated[str, typer.Argument(help="a name, or name:option=value,...")],
    computed: Annotated[str, typer.Option(help="steps in the history: 0,1,2,8")],
    target: Annotated[int, typer.Option(help="step to forecast")],
    order: Order = None,
    settings: Settings = [],  # noqa: B006  # typer copies it
    times: Annotated[
        str | None, typer.Option(help="of these steps and the target, for coordinate=time")
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Show the row of weights that a linear PREDICTOR gives the computed steps."""
    steps = steps_from("--computed", computed)
    *history, goal = with_times([*steps, target], times)
    explanation = explain(predictor_from(predictor, order, settings), history, goal)
    if as_json:
        print(json.dumps(explanation.figures(), indent=2))
    else:
        print(explanation)


@app.command()
def memory(
    model: Annotated[
        str, typer.Argument(help=f"zoo:NAME, a folder, a hub id, {', '.join(published_names())}")
    ],
    height: Annotated[int | None, typer.Option(min=1, help="pixels [the model's usual]")] = None,
    width: Annotated[int | None, typer.Option(min=1, help="pixels [the model's usual]")] = None,
    frames: Annotated[int | None, typer.Option(min=1, help="of a video")] = None,
    batch: Annotated[int, typer.Option(min=1, help="pictures or videos at once")] = 1,
    text_tokens: Annotated[int | None, typer.Option(min=1, help="with padding")] = None,
    guidance: Annotated[
        bool | None,
        typer.Option("--guidance/--no-guidance", help="an unconditional half [model's habit]"),
    ] = None,
    predictor: Annotated[str, typer.Option(help="a name, or name:option=value,...")] = "taylor",
    order: Order = None,
    settings: Settings = [],  # noqa: B006  # typer copies it
    depth: Annotated[
        int | None, typer.Option(min=1, help="features kept, instead of the predictor's")
    ] = None,
    site: Site = "output",
    dtype: Dtype = "bfloat16",
    storage_dtype: Annotated[str | None, typer.Option(help="of the histories [dtype]")] = None,
    as_json: AsJson = False,
) -> None:
    """Say what a cache of MODEL will hold, from its configuration alone."""
    chosen_site = choose("site", site, {name: name for name in GRANULARITIES})
    chosen_dtype = choose("dtype", dtype, DTYPES)
    stored = None if storage_dtype is None else choose("storage-dtype", storage_dtype, DTYPES)
    import torch

    planned = plan(
        planned_model(model),
        Size(height, width, frames, batch, text_tokens),
        depth or predictor_from(predictor, order, settings).depth,
        chosen_site,
        guidance,
        getattr(torch, chosen_dtype),
        None if stored is None else getattr(torch, stored),
    )
    if as_json:
        print(json.dumps(planned.figures(), indent=2))
    else:
        print_plan(planned)


@app.command(name="list")
def list_(
    as_json: AsJson = False,
) -> None:
    """Show what is installed: predictors, schedules, adapters with their sites, zoo models."""
    found = {
        "predictors": {name: _summary(kind) for name, kind in PREDICTORS.items()},
        "schedules": {name: _summary(kind) for name, kind in SCHEDULES.items()},
        "adapters": {name: _serves(adapter) for name, adapter in ADAPTERS.items()},
        "zoo": {zoo.PREFIX + name: entry.about for name, entry in zoo.MODELS.items()},
    }
    if as_json:
        print(json.dumps(found, indent=2))
        return
    print_list(found)


def _summary(kind: type) -> str:
    first_line = (kind.__doc__ or "").strip().partition("\n")[0]
    options = describe_options(kind)
    return f"{first_line} ({options})" if options else first_line


def _serves(adapter: Adapter) -> str:
    return f"{', '.join(adapter.models)}: {', '.join(adapter.granularities)}"
