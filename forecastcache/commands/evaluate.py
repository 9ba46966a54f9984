"""forecastcache evaluate: how predictors and their rivals stand, in one table."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated, Any

import typer

from forecastcache.arguments import choose, require_writable
from forecastcache.commands.asking import load_and_ask, plainly_warned, request_fields
from forecastcache.commands.options import (
    DTYPES,
    AsJson,
    Classes,
    Device,
    Dtype,
    Guidance,
    Model,
    Prompts,
    Seed,
    Size,
    Steps,
)
from forecastcache.console import print_rows, progress
from forecastcache.errors import OptionError

COUNT = 16


def evaluate(
    model: Model,
    predictor: Annotated[
        list[str], typer.Option(help="such as taylor:order=1; may be repeated")
    ] = [],  # noqa: B006  # typer copies it
    schedule: Annotated[list[str], typer.Option(help="every:5 or 0,6,12; may be repeated")] = [],  # noqa: B006
    interval: Annotated[str | None, typer.Option(help="3..8 or 3,5,7: every:N each")] = None,
    site: Annotated[
        str | None, typer.Option(help="one or several: output,module (output)")
    ] = None,
    rival: Annotated[
        list[str],
        typer.Option(help="steps:count=12,solver=unipc, taylorseer:interval=5, ...; repeated"),
    ] = [],  # noqa: B006
    calibration: Annotated[str | None, typer.Option(help="file, zoo:NAME or hub id")] = None,
    computed: Annotated[str | None, typer.Option(help="by the calibration: 6..18 or 6,9")] = None,
    sweep: Annotated[
        Path | None,
        typer.Option(help="YAML or JSON: predictors, schedules, sites, calibration, ..."),
    ] = None,
    steps: Steps = 50,
    seed: Seed = 0,
    count: Annotated[
        int | None, typer.Option(min=2, help=f"samples (all of the file, else {COUNT})")
    ] = None,
    classes: Classes = None,
    prompts: Prompts = None,
    size: Size = None,
    guidance_scale: Guidance = None,
    device: Device = "cpu",
    dtype: Dtype = "float32",
    out: Annotated[Path, typer.Option(help="folder of tables and pictures")] = Path(
        "forecastcache-evaluate"
    ),
    as_json: AsJson = False,
) -> None:
    """Sample MODEL in many ways and hold each against the plain run, a row each."""
    chosen_dtype = choose("dtype", dtype, DTYPES)
    asked: dict[str, Any] = {
        "predictors": predictor,
        "schedules": [*schedule, *(f"every:{n}" for n in _numbers("interval", interval))],
        "rivals": rival,
        "calibration": calibration,
        "computed": _numbers("computed", computed),
    }
    if site is not None:
        asked["sites"] = site.split(",")
    if sweep is not None and any(asked.values()):
        raise OptionError(
            "--sweep says what to compare: leave out --predictor, --schedule, --interval, --site, "
            "--calibration, --computed and --rival"
        )
    require_writable(out)
    fields = request_fields(steps, seed, count, classes, prompts, guidance_scale, size)
    fields["count"] = count or len(fields.get("prompts", ())) or COUNT
    # Imported here: diffusers and matplotlib take seconds that a refused option need not wait for.
    from forecastcache.calibration.team import team
    from forecastcache.evaluation import tables
    from forecastcache.evaluation.evaluation import evaluate as evaluation
    from forecastcache.evaluation.sweep import Sweep

    chosen = Sweep.read(sweep) if sweep else Sweep.of("the options", asked)
    entries = chosen.entries(steps)
    with team() as crew:
        quiet = as_json or not crew.leads
        pipe, (request,) = load_and_ask(model, crew.device(device), chosen_dtype, [fields])
        pipe.set_progress_bar_config(disable=True)
        with progress(quiet) as tell, plainly_warned():
            found = evaluation(pipe, request, entries, model, out, tell, crew)
    if not crew.leads:
        return
    saved = found.save(out)
    if as_json:
        print(json.dumps(found.figures(), indent=2))
    else:
        print_rows(*tables.cells(found.rows))
        print(*tables.remarks(found.rows), *saved, sep="\n")


def _numbers(option: str, text: str | None) -> list[int]:
    """From `3..8` or `3,5,7`."""
    if text is None:
        return []
    first, dots, last = text.partition("..")
    try:
        if dots:
            return list(range(int(first), int(last) + 1))
        return [int(part) for part in text.split(",")]
    except ValueError:
        raise OptionError(f"--{option} {text} is none: write 3..8 or 3,5,7") from None
