"""forecastcache evaluate: how predictors and their rivals stand, in one table."""

from __future__ import annotations

import json
from dataclasses import asdict
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from forecastcache import zoo
from forecastcache.arguments import choose, require_writable
from forecastcache.commands.asking import load_and_ask, plainly_warned, requests_fields
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
    Steps,
)
from forecastcache.console import print_rows, progress
from forecastcache.errors import OptionError

if TYPE_CHECKING:
    from forecastcache.evaluation.entries import Entry

COUNT = 16


def evaluate(
    model: Model,
    predictor: Annotated[
        list[str], typer.Option(help="such as taylor:order=1; may be repeated")
    ] = [],  # noqa: B006  # typer copies it
    schedule: Annotated[list[str], typer.Option(help="every:5 or 0,6,12; may be repeated")] = [],  # noqa: B006
    interval: Annotated[str | None, typer.Option(help="3..8 or 3,5,7: every:N each")] = None,
    site: Annotated[str, typer.Option(help="one or several: output,module")] = "output",
    rival: Annotated[
        list[str],
        typer.Option(help="steps:count=12,solver=unipc, taylorseer:interval=5, ...; repeated"),
    ] = [],  # noqa: B006
    calibration: Annotated[str | None, typer.Option(help="file, zoo:NAME or hub id")] = None,
    computed: Annotated[str | None, typer.Option(help="by the calibration: 6,9,12")] = None,
    sweep: Annotated[Path | None, typer.Option(help="YAML or JSON with all of this")] = None,
    steps: Steps = 50,
    seed: Seed = 0,
    count: Annotated[int, typer.Option(min=2, help="samples")] = COUNT,
    classes: Classes = None,
    prompts: Prompts = None,
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
    require_writable(out)
    fields, *others = requests_fields(steps, seed, count, classes, prompts, guidance_scale)
    if others:
        raise OptionError(f"--prompts {prompts} asks for several kinds of call: give one")
    # Imported here: diffusers and matplotlib take seconds that a refused option need not wait for.
    from forecastcache.evaluation import charts, tables
    from forecastcache.evaluation.sweep import Sweep, run

    asked = {
        "predictors": predictor,
        "schedules": [*schedule, *(f"every:{n}" for n in _intervals(interval))],
        "sites": site.split(","),
        "rivals": rival,
    }
    if sweep is not None and any((predictor, schedule, interval, rival)):
        raise OptionError("--sweep says what to compare: leave out --predictor, --rival and such")
    chosen = Sweep.read(sweep) if sweep else Sweep.of("the options", asked)
    entries = [*chosen.entries(steps), *_calibrated(calibration, computed, steps)]
    if not entries:
        raise OptionError("there is nothing to evaluate: give --predictor, --rival or --sweep")
    pipe, (request,) = load_and_ask(model, device, chosen_dtype, [fields])
    pipe.set_progress_bar_config(disable=True)
    request.arguments(pipe)  # refuses before the first run
    about = {
        "model": model,
        "request": json.loads(json.dumps(asdict(request), default=str)),
        "dtype": chosen_dtype,
        "versions": {name: version(name) for name in ("torch", "diffusers")},
    }
    out.mkdir(parents=True, exist_ok=True)
    with progress(quiet=as_json) as tell, plainly_warned():
        rows = run(
            pipe, request, entries, out / "rows.jsonl", about, _critic(model, pipe, request), tell
        )
    saved = {name: out / name for name in ("rows.csv", "table.md", "rows.json")}
    tables.save_csv(rows, saved["rows.csv"])
    saved["table.md"].write_text(tables.markdown(rows), encoding="utf-8")
    saved["rows.json"].write_text(json.dumps({**about, "rows": rows}, indent=2) + "\n")
    for draw in (
        charts.fidelity_against_speed,
        charts.memory_against_fidelity,
        charts.error_by_step,
    ):
        saved[draw.__name__] = out / f"{draw.__name__.replace('_', '-')}.png"
        draw(rows, saved[draw.__name__])
    if as_json:
        print(json.dumps({**about, "rows": rows}, indent=2))
    else:
        print_rows(*tables.cells(rows))
        print(*saved.values(), sep="\n")


def _intervals(text: str | None) -> list[int]:
    """From `3..8` or `3,5,7`."""
    if text is None:
        return []
    first, dots, last = text.partition("..")
    try:
        if dots:
            return list(range(int(first), int(last) + 1))
        return [int(part) for part in text.split(",")]
    except ValueError:
        raise OptionError(f"--interval {text} is none: write 3..8 or 3,5,7") from None


def _counts(text: str | None) -> list[int]:
    try:
        return [int(part) for part in (text or "").split(",")]
    except ValueError:
        raise OptionError(
            "--calibration needs --computed, such as 6,9,12: the steps that may be computed"
        ) from None


def _calibrated(calibration: str | None, computed: str | None, steps: int) -> list[Entry]:
    if calibration is None:
        return []
    counts = _counts(computed)
    from forecastcache.calibration.artifact import Calibration
    from forecastcache.evaluation.entries import Forecast

    file = Calibration.load(calibration)
    file.identity.require_steps(steps)
    return [
        Forecast(predictor, schedule, "output", f"calibration, {count} computed")
        for count in counts
        for schedule, predictor in [file.choose(count)]
    ]


def _critic(model: str, pipe: Any, request: Any) -> Any:
    """The judge of a zoo model's samples; None for other models."""
    if not model.startswith(zoo.PREFIX):
        return None
    from forecastcache.zoo.appraisal import Critic
    from forecastcache.zoo.judge import Judge

    recipe, arguments = zoo.recipe(model), request.arguments(pipe)
    asked = recipe.asked(arguments.get("class_labels", arguments.get("prompt")))
    return Critic(Judge.load(), asked, recipe.real())
