"""forecastcache evaluate: how predictors and their rivals stand, in one table."""

from __future__ import annotations

import json
from dataclasses import asdict
from hashlib import sha256
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from forecastcache import zoo
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
    Steps,
)
from forecastcache.console import print_rows, progress
from forecastcache.errors import OptionError

if TYPE_CHECKING:
    from forecastcache.evaluation.entries import Entry
    from forecastcache.sampling import Request

COUNT = 16


def evaluate(
    model: Model,
    predictor: Annotated[
        list[str], typer.Option(help="such as taylor:order=1; may be repeated")
    ] = [],  # noqa: B006  # typer copies it
    schedule: Annotated[list[str], typer.Option(help="every:5 or 0,6,12; may be repeated")] = [],  # noqa: B006
    interval: Annotated[str | None, typer.Option(help="3..8 or 3,5,7: every:N each")] = None,
    site: Annotated[
        str | None, typer.Option(help="one or several: output,module [output]")
    ] = None,
    rival: Annotated[
        list[str],
        typer.Option(help="steps:count=12,solver=unipc, taylorseer:interval=5, ...; repeated"),
    ] = [],  # noqa: B006
    calibration: Annotated[str | None, typer.Option(help="file, zoo:NAME or hub id")] = None,
    computed: Annotated[str | None, typer.Option(help="by the calibration: 6,9,12")] = None,
    sweep: Annotated[
        Path | None, typer.Option(help="YAML or JSON: predictors, schedules, sites, rivals")
    ] = None,
    steps: Steps = 50,
    seed: Seed = 0,
    count: Annotated[
        int | None, typer.Option(min=2, help=f"samples [all of the file, else {COUNT}]")
    ] = None,
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
    if sweep is not None and any((predictor, schedule, interval, rival, site)):
        raise OptionError(
            "--sweep says what to compare: leave out --predictor, --schedule, --interval, --site "
            "and --rival"
        )
    if (calibration is None) != (computed is None):
        raise OptionError("--calibration and --computed go together: give both, or none")
    require_writable(out)
    fields = request_fields(steps, seed, count, classes, prompts, guidance_scale)
    fields["count"] = count or len(fields.get("prompts", ())) or COUNT
    # Imported here: diffusers and matplotlib take seconds that a refused option need not wait for.
    from forecastcache.evaluation import charts, tables
    from forecastcache.evaluation.sweep import Sweep, run

    asked = {
        "predictors": predictor,
        "schedules": [*schedule, *(f"every:{n}" for n in _intervals(interval))],
        "sites": (site or "output").split(","),
        "rivals": rival,
    }
    chosen = Sweep.read(sweep) if sweep else Sweep.of("the options", asked)
    learned = _Learned(calibration, computed) if calibration and computed else None
    entries = [*chosen.entries(steps), *(learned.entries(steps) if learned else ())]
    if not entries:
        raise OptionError("there is nothing to evaluate: give --predictor, --rival or --sweep")
    pipe, (request,) = load_and_ask(model, device, chosen_dtype, [fields])
    pipe.set_progress_bar_config(disable=True)
    arguments = request.arguments(pipe)  # refuses before the first run
    if learned:
        learned.require(pipe, request)
    about = {
        "model": model,
        "request": json.loads(json.dumps(asdict(request), default=str)),
        "dtype": chosen_dtype,
        "device": device,
        "calibration": learned and learned.digest,
        "versions": {name: version(name) for name in ("torch", "diffusers")},
    }
    judge = None
    if model.startswith(zoo.PREFIX):
        from forecastcache.zoo.appraisal import critic

        judge = critic(model, arguments)
    out.mkdir(parents=True, exist_ok=True)
    with progress(quiet=as_json) as tell, plainly_warned():
        rows = run(pipe, request, entries, out / "rows.jsonl", about, judge, tell)
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


class _Learned:
    """The rows of a calibration file."""

    def __init__(self, source: str, computed: str) -> None:
        from forecastcache.calibration import hub
        from forecastcache.calibration.artifact import Calibration

        try:
            self.counts = [int(part) for part in computed.split(",")]
        except ValueError:
            raise OptionError(f"--computed {computed} is none: write such as 6,9,12") from None
        self.source, self.file = source, Calibration.load(source)
        self.digest = sha256(hub.find(source).read_bytes()).hexdigest()[:16]

    def entries(self, steps: int) -> list[Entry]:
        from forecastcache.evaluation.entries import Forecast

        self.file.identity.require_steps(steps)
        return [
            Forecast(predictor, schedule, "output", f"{self.source} computed:{count}")
            for count in self.counts
            for schedule, predictor in [self.file.choose(count)]
        ]

    def require(self, pipe: Any, request: Request) -> None:
        from forecastcache.calibration.identity import Identity

        self.file.identity.require(Identity.of(pipe, request.steps, request.guidance(pipe)))
