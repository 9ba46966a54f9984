"""forecastcache run: a model sampled plainly and with forecasting, side by side."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from forecastcache import zoo
from forecastcache.adapter import GRANULARITIES, Granularity
from forecastcache.arguments import (
    choose,
    predictor_from,
    require_writable,
    schedule_from,
)
from forecastcache.commands.asking import load_and_ask, plainly_warned, request_fields
from forecastcache.commands.options import (
    DTYPES,
    AsJson,
    Classes,
    Device,
    Dtype,
    Guidance,
    Model,
    Order,
    Prompts,
    Seed,
    Settings,
    Site,
    Size,
    Steps,
)
from forecastcache.console import decibels, print_figures
from forecastcache.errors import OptionError
from forecastcache.predictor import Predictor
from forecastcache.schedule import Schedule

if TYPE_CHECKING:
    from forecastcache.calibration.artifact import Calibration


def run(
    model: Model,
    predictor: Annotated[
        str | None, typer.Option(help="a name, or name:option=value,...; see list (taylor)")
    ] = None,
    order: Order = None,
    settings: Settings = [],  # noqa: B006  # typer copies it
    interval: Annotated[int | None, typer.Option(help="between computed steps (5)")] = None,
    first: Annotated[int | None, typer.Option(help="leading computed steps (3)")] = None,
    schedule: Annotated[
        str | None, typer.Option(help="the computed steps themselves: 0,1,2,8,20")
    ] = None,
    calibration: Annotated[
        str | None,
        typer.Option(help="file, zoo:NAME or hub id: it gives schedule and predictor"),
    ] = None,
    computed: Annotated[
        int | None, typer.Option(min=1, help="steps computed, by the calibration (a fifth)")
    ] = None,
    site: Site = "output",
    steps: Steps = 50,
    seed: Seed = 0,
    count: Annotated[int | None, typer.Option(min=1, help="pictures")] = None,
    classes: Classes = None,
    prompts: Prompts = None,
    size: Size = None,
    guidance_scale: Guidance = None,
    device: Device = "cpu",
    dtype: Dtype = "float32",
    out: Annotated[Path, typer.Option(help="folder of the picture")] = Path("forecastcache-run"),
    as_json: AsJson = False,
) -> None:
    """Sample MODEL plainly and with forecasting, side by side, with the figures."""
    chosen_site = choose("site", site, {name: name for name in GRANULARITIES})
    chosen_dtype = choose("dtype", dtype, DTYPES)
    learned: Calibration | None = None
    chosen_schedule: Schedule
    chosen_predictor: Predictor
    if calibration is not None:
        if {predictor, order, interval, first, schedule} != {None} or settings:
            raise OptionError(
                "--calibration gives schedule and predictor: leave out --predictor, --order, "
                "--set, --interval, --first and --schedule, and say --computed"
            )
        from forecastcache.calibration.artifact import Calibration

        learned = Calibration.load(calibration)
        learned.identity.require_steps(steps)
        chosen_schedule, chosen_predictor = learned.choose(computed or max(1, steps // 5))
    elif computed is not None:
        raise OptionError("--computed goes with --calibration; else list the steps: --schedule")
    else:
        chosen_predictor = predictor_from(predictor or "taylor", order, settings)
        chosen_schedule = schedule_from(schedule, interval, first)
    chosen_schedule.check(steps)
    chosen_predictor.check(steps, chosen_schedule.foreseen(steps))
    require_writable(out)
    fields = request_fields(steps, seed, count, classes, prompts, guidance_scale, size)
    figures, saved = _run(
        model, device, chosen_dtype, fields, chosen_schedule, chosen_predictor,
        chosen_site, out, learned,
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
    fields: dict[str, Any],
    schedule: Schedule,
    predictor: Predictor,
    site: Granularity,
    out: Path,
    learned: Calibration | None,
) -> tuple[dict[str, Any], dict[str, Path]]:
    # Imported here: diffusers and matplotlib take seconds that a refused option need not wait for.
    from forecastcache.evaluation.comparison import compare
    from forecastcache.evaluation.pictures import contact_sheet, film

    zoo_model = model if model.startswith(zoo.PREFIX) else None
    pipe, (request,) = load_and_ask(model, device, dtype, [fields])
    request.arguments(pipe)  # refuses before the first run
    if learned is not None:
        from forecastcache.calibration.identity import Identity

        asked = Identity.of(pipe, request.steps, request.guidance(pipe))
        learned.identity.require(asked)
    with plainly_warned():
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


def _caption(figures: dict[str, Any]) -> str:
    return (
        f"{figures['speedup']:.2f} times as fast (ceiling {figures['ceiling']:.2f}), "
        f"PSNR {decibels(figures['psnr_db'])}, SSIM {figures['ssim']:.4f}, "
        f"cache {figures['cache_bytes']:,} bytes"
    )
