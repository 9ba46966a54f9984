"""forecastcache run: a model sampled plainly and with forecasting, side by side."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from forecastcache import zoo
from forecastcache.cli.args import choose, load_and_ask, request_fields
from forecastcache.cli.chosen import Chosen, Said, Wanted, prepared
from forecastcache.cli.console import format_decibels, plainly_warned, print_measurement
from forecastcache.cli.options import (
    DTYPES,
    CalibrationOption,
    ClassesOption,
    ComputedOption,
    ConfigOption,
    DeviceOption,
    DtypeOption,
    FirstOption,
    GuidanceOption,
    IntervalOption,
    JsonOption,
    ModelArgument,
    OrderOption,
    PredictorOption,
    PromptsOption,
    PsnrOption,
    RunOutOption,
    SampleCountOption,
    ScheduleOption,
    SeedOption,
    SetOption,
    SiteOfRunOption,
    SizeOption,
    SpeedupOption,
    StepsOption,
)
from forecastcache.cli.outputs import require_folder
from forecastcache.errors import OptionError
from forecastcache.zoo import usual_steps

if TYPE_CHECKING:
    from forecastcache.evaluation.captions import Caption
    from forecastcache.evaluation.measure import Measured


def run_command(
    model: ModelArgument,
    predictor: PredictorOption = None,
    order: OrderOption = None,
    settings: SetOption = [],  # noqa: B006  # typer copies it
    interval: IntervalOption = None,
    first: FirstOption = None,
    schedule: ScheduleOption = None,
    config: ConfigOption = None,
    calibration: CalibrationOption = None,
    speedup: SpeedupOption = None,
    computed: ComputedOption = None,
    psnr: PsnrOption = None,
    site: SiteOfRunOption = None,
    steps: StepsOption = None,
    seed: SeedOption = None,
    count: SampleCountOption = None,
    classes: ClassesOption = None,
    prompts: PromptsOption = None,
    size: SizeOption = None,
    guidance_scale: GuidanceOption = None,
    device: DeviceOption = "cpu",
    dtype: DtypeOption = "float32",
    out: RunOutOption = Path("forecastcache-run"),
    as_json: JsonOption = False,
) -> None:
    """Sample MODEL plainly and with forecasting, side by side, with the figures."""
    steps = steps or usual_steps(model)
    chosen_dtype = choose("dtype", dtype, DTYPES)
    asked = Said(
        predictor, order, settings, interval, first, schedule, site, config,
        calibration, speedup, computed, psnr,
    ).chosen(steps)  # fmt: skip
    sheet = out / f"{_stem(model)}-{asked.name}.png"
    require_folder("--out", out, sheet.name)
    fields = request_fields(steps, seed, count, classes, prompts, guidance_scale, size)
    _measure_and_show(model, device, chosen_dtype, fields, asked, sheet, as_json)


def _measure_and_show(
    model: str,
    device: str,
    dtype: str,
    fields: dict[str, Any],
    asked: Chosen | Wanted,
    sheet: Path,
    as_json: bool,
) -> None:
    # Imported here: diffusers and matplotlib take seconds that a refused option need not wait for.
    from forecastcache.evaluation.captions import captions
    from forecastcache.evaluation.measure import Measure
    from forecastcache.evaluation.method import Forecast
    from forecastcache.zoo.scores import scorer_of

    pipe, (request,) = load_and_ask(model, device, dtype, [fields])
    arguments = request.arguments(pipe)  # refuses before the first run
    pipe.set_progress_bar_config(disable=as_json)
    chosen = prepared(asked, model, pipe, request, fields, quiet=as_json)
    method = Forecast(
        chosen.predictor, chosen.schedule, chosen.site, str(chosen.predictor),
        str(chosen.schedule), chosen.identity, config=chosen.config,
    )  # fmt: skip
    with plainly_warned():
        with method.apply(pipe, request):
            pass  # refuses before the first run
        scorer = scorer_of(model, arguments) if model.startswith(zoo.PREFIX) else None
        found = Measure(pipe, request, scorer)(method)
    guidance = request.guidance(pipe)
    saved = _drawn(model, found, sheet, captions(pipe, request))
    if as_json:
        about = {"model": model, "seed": fields["seed"], "guidance_scale": guidance}
        learned = {} if chosen.learned is None else {"learned": chosen.told()}
        paths = {kind: str(path) for kind, path in saved.items()}
        print(json.dumps({**about, **learned, **found.row.figures(), **paths}, indent=2))
    else:
        print_measurement(model, found.row, guidance, chosen.told())
        print(*saved.values(), sep="\n")


def _drawn(model: str, found: Measured, sheet: Path, asked: Sequence[Caption]) -> dict[str, Path]:
    """Pictures of both runs, by kind."""
    from forecastcache.evaluation.pictures import contact_sheet, film

    row, saved = found.row, {"picture": sheet}
    try:
        contact_sheet(
            found.plain,
            found.samples,
            title=f"{model}: {row.count} of {row.steps} steps computed",
            caption=f"{row.predictor} at {row.site}; {row.speedup:.2f} times as fast, PSNR of "
            f"samples {format_decibels(row.psnr_db)}, cache {row.cache_bytes:,} bytes",
            path=sheet,
            captions=asked,
        )
        if found.plain.dim() == 5:
            saved["film"] = sheet.with_suffix(".gif")
            film(found.plain, found.samples, saved["film"])
    except OSError as error:
        raise OptionError(
            f"{list(saved.values())[-1]} cannot be written ({error.strerror}): give another --out"
        ) from None
    return saved


def _stem(model: str) -> str:
    return model.removeprefix(zoo.PREFIX).strip("/").replace("/", "-")
