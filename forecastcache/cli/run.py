"""forecastcache run: a model sampled plainly and with forecasting, side by side."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from forecastcache import zoo
from forecastcache.adapter import GRANULARITIES, Granularity
from forecastcache.cli.args import (
    choose,
    load_and_ask,
    predictor_from,
    request_fields,
    schedule_from,
)
from forecastcache.cli.console import format_decibels, plainly_warned, print_measurement
from forecastcache.cli.options import (
    DTYPES,
    CalibrationOption,
    ClassesOption,
    ComputedOption,
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
    RunOutOption,
    SampleCountOption,
    ScheduleOption,
    SeedOption,
    SetOption,
    SiteOption,
    SizeOption,
    StepsOption,
)
from forecastcache.cli.outputs import require_folder
from forecastcache.errors import OptionError
from forecastcache.predictor import Predictor
from forecastcache.schedule import Schedule

if TYPE_CHECKING:
    from forecastcache.calibration.identity import Identity
    from forecastcache.evaluation.measure import Measured


def run_command(
    model: ModelArgument,
    predictor: PredictorOption = None,
    order: OrderOption = None,
    settings: SetOption = [],  # noqa: B006  # typer copies it
    interval: IntervalOption = None,
    first: FirstOption = None,
    schedule: ScheduleOption = None,
    calibration: CalibrationOption = None,
    computed: ComputedOption = None,
    site: SiteOption = "output",
    steps: StepsOption = 50,
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
    chosen_site = choose("site", site, {name: name for name in GRANULARITIES})
    chosen_dtype = choose("dtype", dtype, DTYPES)
    if calibration is not None:
        _refuse_beside_calibration(
            {predictor, order, interval, first, schedule, *settings}, chosen_site
        )
        chosen = _calibrated(calibration, computed, steps)
    else:
        chosen = _formula(predictor, order, settings, interval, first, schedule, computed)
    chosen.check(steps)
    sheet = out / f"{_stem(model)}-{_name(chosen.predictor)}-{chosen_site}.png"
    require_folder("--out", out, sheet.name)
    fields = request_fields(steps, seed, count, classes, prompts, guidance_scale, size)
    _measure_and_show(model, device, chosen_dtype, fields, chosen, chosen_site, sheet, as_json)


@dataclass(frozen=True)
class _Chosen:
    """What fills in which steps, and what it was calibrated on."""

    schedule: Schedule
    predictor: Predictor
    identity: Identity | None = None

    def check(self, steps: int) -> None:
        self.schedule.check(steps)
        self.predictor.check(steps, self.schedule.foreseen(steps))


def _refuse_beside_calibration(given: set[str | int | None], site: Granularity) -> None:
    if given != {None}:
        raise OptionError(
            "--calibration gives schedule and predictor: leave out --predictor, --order, --set, "
            "--interval, --first and --schedule, and say --computed"
        )
    if site != "output":
        raise OptionError(
            f"--calibration has rows of the model's output, and none of --site {site}: leave out "
            "--site"
        )


def _calibrated(source: str, count: int | None, steps: int) -> _Chosen:
    from forecastcache.calibration.calibration import Calibration

    learned = Calibration.load(source)
    learned.identity.require_steps(steps)
    # Unasked, what was rolled is given, were it more than a fifth of the steps.
    fewest = min((len(fit.computed) for fit in learned.fits), default=1)
    with plainly_warned():
        chosen = learned.choose(count or max(fewest, steps // 5))
    return _Chosen(*chosen, learned.identity)


def _formula(
    predictor: str | None,
    order: int | None,
    settings: Sequence[str],
    interval: int | None,
    first: int | None,
    schedule: str | None,
    computed: int | None,
) -> _Chosen:
    if computed is not None:
        raise OptionError("--computed goes with --calibration; else list the steps: --schedule")
    made = predictor_from(predictor or "taylor", order, settings)
    return _Chosen(schedule_from(schedule, interval, first), made)


def _measure_and_show(
    model: str,
    device: str,
    dtype: str,
    fields: dict[str, Any],
    chosen: _Chosen,
    site: Granularity,
    sheet: Path,
    as_json: bool,
) -> None:
    # Imported here: diffusers and matplotlib take seconds that a refused option need not wait for.
    from forecastcache.evaluation.measure import Measure
    from forecastcache.evaluation.method import Forecast
    from forecastcache.zoo.scores import scorer_of

    pipe, (request,) = load_and_ask(model, device, dtype, [fields])
    method = Forecast(
        chosen.predictor, chosen.schedule, site, str(chosen.predictor), str(chosen.schedule),
        chosen.identity,
    )  # fmt: skip
    arguments = request.arguments(pipe)  # refuses before the first run
    with method.apply(pipe, request):
        pass
    pipe.set_progress_bar_config(disable=as_json)
    with plainly_warned():
        scorer = scorer_of(model, arguments) if model.startswith(zoo.PREFIX) else None
        found = Measure(pipe, request, scorer)(method)
    guidance = request.guidance(pipe)
    saved = _drawn(model, found, sheet)
    if as_json:
        asked = {"model": model, "seed": fields["seed"], "guidance_scale": guidance}
        paths = {kind: str(path) for kind, path in saved.items()}
        print(json.dumps({**asked, **found.row.figures(), **paths}, indent=2))
    else:
        print_measurement(model, found.row, guidance)
        print(*saved.values(), sep="\n")


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


def _name(predictor: Predictor) -> str:
    return type(predictor).__name__.lower()
