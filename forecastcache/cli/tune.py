"""forecastcache tune: a schedule that decides as it runs, made for a model."""

from __future__ import annotations

import json
from typing import Annotated

import typer

from forecastcache.adapter import GRANULARITIES
from forecastcache.bounds import MOST
from forecastcache.cli.args import choose, load_and_ask, request_fields
from forecastcache.cli.console import plainly_warned, progress_bars
from forecastcache.cli.options import (
    DTYPES,
    CalibrationSeedOption,
    ClassesOption,
    DeviceOption,
    DtypeOption,
    GuidanceOption,
    JsonOption,
    ModelArgument,
    PromptsOption,
    SiteOption,
    SizeOption,
    StepsOption,
)
from forecastcache.spec import as_text, parse_predictor, parse_schedule
from forecastcache.zoo import usual_steps

SEED = 1000  # of what is calibrated with, so that no picture shown is


def tune_command(
    model: ModelArgument,
    schedule: Annotated[str, typer.Option(help="teacache, magcache:in_a_row=5, ...; see list")],
    computed: Annotated[
        float | None,
        typer.Option(
            min=1, max=MOST["steps"], help="mean number of computed steps (the threshold as it is)"
        ),
    ] = None,
    predictor: Annotated[str, typer.Option(help="forecaster of the other steps")] = "taylor",
    site: SiteOption = "output",
    steps: StepsOption = None,
    seed: CalibrationSeedOption = None,
    count: Annotated[
        int | None,
        typer.Option(min=1, max=MOST["samples"], help="samples (all of the file, or 4)"),
    ] = None,
    classes: ClassesOption = None,
    prompts: PromptsOption = None,
    size: SizeOption = None,
    guidance_scale: GuidanceOption = None,
    device: DeviceOption = "cpu",
    dtype: DtypeOption = "float32",
    as_json: JsonOption = False,
) -> None:
    """Fit SCHEDULE to MODEL, solve its threshold for a number of computed steps, and print it."""
    steps = steps or usual_steps(model)
    chosen_dtype = choose("dtype", dtype, DTYPES)
    chosen_site = choose("site", site, {name: name for name in GRANULARITIES})
    asked, forecaster = parse_schedule(schedule), parse_predictor(predictor)
    count = count or (None if classes or prompts else 4)
    fields = request_fields(
        steps, SEED if seed is None else seed, count, classes, prompts, guidance_scale, size
    )
    # Imported here: diffusers takes seconds that a refused option need not wait for.
    from forecastcache.calibration.schedule_fit import fit_schedule
    from forecastcache.calibration.thresholds import require_solvable, solve_threshold

    if computed is not None:
        require_solvable(asked, computed, steps)
    pipe, (request,) = load_and_ask(model, device, chosen_dtype, [fields], split="calibration")
    pipe.set_progress_bar_config(disable=True)
    with progress_bars(as_json) as progress, plainly_warned():
        found = fit_schedule(pipe, request, asked, progress=progress)
        if computed is not None:
            found = solve_threshold(
                pipe, request, found, forecaster, computed, site=chosen_site, progress=progress
            )
    print(json.dumps({"schedule": as_text(found)}, indent=2) if as_json else as_text(found))
