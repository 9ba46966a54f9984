"""forecastcache run: a model sampled plainly and with forecasting, side by side."""

from __future__ import annotations

import json
from dataclasses import replace
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
    from forecastcache.calibration.distributed import ProcessGroup
    from forecastcache.evaluation.measure import Measured
    from forecastcache.sampling.request import Request


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
    from forecastcache.calibration.distributed import process_group

    with process_group() as group:
        quiet = as_json or not group.is_main
        pipe, (request,) = load_and_ask(model, group.device(device), dtype, [fields])
        request.arguments(pipe)  # refuses before the first run
        pipe.set_progress_bar_config(disable=quiet)
        if group.size > 1:
            _require_same(group, pipe, request, model, asked)
        with group.main_first():
            chosen = prepared(asked, model, pipe, request, fields, quiet)
        found = _measured(model, pipe, request, chosen, group)
        drifts = group.gather(dict(chosen.drift))
    if not group.is_main:
        return
    worst = {step: max(it.get(step, 0.0) for it in drifts) for it in drifts for step in it}
    told = replace(chosen, drift=worst).told()
    guidance = request.guidance(pipe)
    saved = _drawn(model, found, sheet)
    if as_json:
        about = {"model": model, "seed": fields["seed"], "guidance_scale": guidance}
        learned = {} if chosen.learned is None else {"learned": told}
        paths = {kind: str(path) for kind, path in saved.items()}
        print(json.dumps({**about, **learned, **found.row.figures(), **paths}, indent=2))
    else:
        print_measurement(model, found.row, guidance, told)
        print(*saved.values(), sep="\n")


def _require_same(
    group: ProcessGroup, pipe: Any, request: Request, model: str, asked: Chosen | Wanted
) -> None:
    from forecastcache.evaluation.provenance import provenance, to_agree_on

    group.require_same(to_agree_on(provenance(pipe, request, model), [repr(asked)]))


def _measured(
    model: str, pipe: Any, request: Request, chosen: Chosen, group: ProcessGroup
) -> Measured:
    """The figures of all samples, of which each process makes its share."""
    from forecastcache.evaluation.measure import Measure
    from forecastcache.evaluation.method import Forecast
    from forecastcache.sampling.share import share
    from forecastcache.zoo.scores import scorer_of

    method = Forecast(
        chosen.predictor, chosen.schedule, chosen.site, str(chosen.predictor),
        str(chosen.schedule), chosen.identity, config=chosen.config,
    )  # fmt: skip
    mine = share(request, pipe, group.rank, group.size)
    with plainly_warned():
        with method.apply(pipe, mine):
            pass  # refuses before the first run
        arguments = request.arguments(pipe)
        scorer = scorer_of(model, arguments) if model.startswith(zoo.PREFIX) else None
        return Measure(pipe, mine, scorer, group)(method)


def _drawn(model: str, found: Measured, sheet: Path) -> dict[str, Path]:
    """Pictures of both runs, by kind."""
    from forecastcache.evaluation.pictures import contact_sheet, film

    row, saved = found.row, {"picture": sheet}
    try:
        contact_sheet(
            found.plain,
            found.samples,
            title=f"{model}: {row.steps} steps, {row.count} computed, {row.predictor} at "
            f"{row.site}",
            caption=f"{row.speedup:.2f} times as fast (ceiling {row.ceiling:.2f}), samples: "
            f"PSNR {format_decibels(row.psnr_db)}, SSIM {row.ssim:.4f}; "
            f"cache {row.cache_bytes:,} bytes",
            path=sheet,
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
