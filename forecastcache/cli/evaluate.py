"""forecastcache evaluate: how predictors and baselines compare, in one table."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from forecastcache.cli.args import (
    choose,
    load_and_ask,
    numbers_from,
    request_fields,
)
from forecastcache.cli.argv import as_typed
from forecastcache.cli.console import plainly_warned, print_rows, progress_bars
from forecastcache.cli.options import (
    DTYPES,
    THEME_NAMES,
    BaselinesOption,
    ClassesOption,
    CountsOption,
    DeviceOption,
    DtypeOption,
    GuidanceOption,
    HtmlOption,
    IntervalsOption,
    JsonOption,
    MeasuredCountOption,
    ModelArgument,
    PredictorsOption,
    PromptsOption,
    RowsOfOption,
    SchedulesOption,
    SeedOption,
    SitesOption,
    SizeOption,
    StepsOption,
    SweepOption,
    TableOutOption,
    ThemeOption,
)
from forecastcache.cli.outputs import require_folder
from forecastcache.errors import OptionError
from forecastcache.granularity import sites_in
from forecastcache.zoo import usual_steps

COUNT = 16  # samples where nothing says how many


def evaluate_command(
    model: ModelArgument,
    predictor: PredictorsOption = [],  # noqa: B006  # typer copies it
    schedule: SchedulesOption = [],  # noqa: B006
    interval: IntervalsOption = None,
    site: SitesOption = None,
    baseline: BaselinesOption = [],  # noqa: B006
    calibration: RowsOfOption = None,
    computed: CountsOption = None,
    sweep: SweepOption = None,
    steps: StepsOption = None,
    seed: SeedOption = None,
    count: MeasuredCountOption = None,
    classes: ClassesOption = None,
    prompts: PromptsOption = None,
    size: SizeOption = None,
    guidance_scale: GuidanceOption = None,
    device: DeviceOption = "cpu",
    dtype: DtypeOption = "float32",
    out: TableOutOption = Path("forecastcache-evaluate"),
    html: HtmlOption = False,
    theme: ThemeOption = "light",
    as_json: JsonOption = False,
) -> None:
    """Sample MODEL in many ways and hold each against the plain run, a row each."""
    steps = steps or usual_steps(model)
    chosen_dtype = choose("dtype", dtype, DTYPES)
    shown = {"html": html, "theme": choose("theme", theme, THEME_NAMES)}
    asked: dict[str, Any] = {
        "predictors": predictor,
        "schedules": [*schedule, *(f"every:{n}" for n in numbers_from("interval", interval))],
        "baselines": baseline,
        "calibration": calibration,
        "counts": numbers_from("computed", computed),
        **({} if site is None else {"sites": sites_in(site)}),
    }
    require_folder("--out", out)
    fields = request_fields(steps, seed, count, classes, prompts, guidance_scale, size)
    fields["count"] = count or len(fields.get("prompts", ())) or COUNT
    _evaluate_and_show(model, device, chosen_dtype, fields, asked, sweep, out, shown, as_json)


def _evaluate_and_show(
    model: str,
    device: str,
    dtype: str,
    fields: dict[str, Any],
    asked: dict[str, Any],
    sweep: Path | None,
    out: Path,
    shown: dict[str, Any],
    as_json: bool,
) -> None:
    if sweep is not None and any(asked.values()):
        raise OptionError(
            "--sweep says what to compare: leave out --predictor, --schedule, --interval, --site, "
            "--calibration, --computed and --baseline"
        )
    # Imported here: diffusers and matplotlib take seconds that a refused option need not wait for.
    from forecastcache.calibration.distributed import process_group
    from forecastcache.evaluation import tables
    from forecastcache.evaluation.evaluate import evaluate
    from forecastcache.evaluation.sweep import Sweep

    chosen = Sweep.read(sweep) if sweep else Sweep.of("the options", asked)
    with plainly_warned():
        methods = chosen.methods(fields["steps"])
    with process_group() as group:
        quiet = as_json or not group.is_main
        pipe, (request,) = load_and_ask(model, group.device(device), dtype, [fields])
        pipe.set_progress_bar_config(disable=True)
        with progress_bars(quiet) as progress, plainly_warned():
            found = evaluate(pipe, request, methods, model, out, progress, group)
    if not group.is_main:
        return
    saved = found.save(out, command=as_typed(), **shown)
    if as_json:
        print(json.dumps(found.figures(), indent=2))
    else:
        print_rows(*tables.cells(found.rows))
        print(*tables.remarks(found.rows), *saved, sep="\n")
