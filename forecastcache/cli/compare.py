"""forecastcache compare: methods side by side with the plain run, to look at."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from forecastcache import zoo
from forecastcache.bounds import MOST
from forecastcache.cli.args import choose, load_and_ask, request_fields, site_from
from forecastcache.cli.argv import as_typed
from forecastcache.cli.console import plainly_warned, print_rows, progress_bars
from forecastcache.cli.options import (
    DTYPES,
    THEME_NAMES,
    ClassesOption,
    DeviceOption,
    DtypeOption,
    GuidanceOption,
    JsonOption,
    ModelArgument,
    PromptsOption,
    SeedOption,
    SiteOption,
    SizeOption,
    StepsOption,
    ThemeOption,
)
from forecastcache.cli.outputs import require_folder
from forecastcache.errors import ForecastCacheError, OptionError
from forecastcache.zoo import usual_steps

if TYPE_CHECKING:
    from forecastcache.evaluation.measure import Measure, Measured
    from forecastcache.evaluation.method import Method

COUNT = 6  # samples where nothing says how many
EXAMPLES = (
    "taylor:order=1, 'taylor every:5, module', learned (the zoo model's calibration), "
    "a calibration's file, steps:count=12, ..."
)

MethodOption = Annotated[str, typer.Option(help=f"a method: {EXAMPLES}")]
FurtherOption = Annotated[str | None, typer.Option(help="another method")]
EqualCountOption = Annotated[
    int | None,
    typer.Option(
        "--computed", min=1, max=MOST["steps"],
        help="computed steps of methods that name none (a fifth)",
    ),
]  # fmt: skip
EqualScheduleOption = Annotated[
    str | None,
    typer.Option(help="schedule of predictors that name none (warped, as many as --computed)"),
]
ShownCountOption = Annotated[
    int | None,
    typer.Option("--count", min=1, max=MOST["samples"], help="samples (all of the file, else 6)"),
]


def compare_command(
    model: ModelArgument,
    a: MethodOption,
    b: MethodOption,
    c: FurtherOption = None,
    d: FurtherOption = None,
    computed: EqualCountOption = None,
    schedule: EqualScheduleOption = None,
    site: SiteOption = "output",
    steps: StepsOption = None,
    seed: SeedOption = None,
    count: ShownCountOption = None,
    classes: ClassesOption = None,
    prompts: PromptsOption = None,
    size: SizeOption = None,
    guidance_scale: GuidanceOption = None,
    device: DeviceOption = "cpu",
    dtype: DtypeOption = "float32",
    out: Annotated[Path, typer.Option(help="folder of the picture and the page")] = Path(
        "forecastcache-compare"
    ),
    theme: ThemeOption = "light",
    as_json: JsonOption = False,
) -> None:
    """Put methods side by side with the plain run of MODEL: a picture, and a page with sliders."""
    steps = steps or usual_steps(model)
    chosen_dtype = choose("dtype", dtype, DTYPES)
    stem = model.removeprefix(zoo.PREFIX).strip("/").replace("/", "-")
    paths = {"picture": out / f"{stem}-compare.png", "page": out / f"{stem}-compare.html"}
    shown = {**paths, "theme": choose("theme", theme, THEME_NAMES)}
    require_folder("--out", out, *(path.name for path in paths.values()))
    fields = request_fields(steps, seed, count, classes, prompts, guidance_scale, size)
    fields["count"] = count or len(fields.get("prompts", ())) or COUNT
    said = [it for it in (a, b, c, d) if it is not None]
    methods = _methods(said, model, steps, computed, schedule, str(site_from(site)))
    _compare_and_show(model, device, chosen_dtype, fields, methods, shown, as_json)


def _methods(
    said: Sequence[str],
    model: str,
    steps: int,
    count: int | None,
    schedule: str | None,
    site: str,
) -> list[Method]:
    from forecastcache.accelerated.goal import usual_count
    from forecastcache.evaluation.said_method import said_method
    from forecastcache.evaluation.sweep import require_names_of_their_own

    with plainly_warned():
        methods = [
            said_method(it, model, steps, count or usual_count(steps), schedule, site)
            for it in said
        ]
    require_names_of_their_own(methods)
    return methods


def _compare_and_show(
    model: str,
    device: str,
    dtype: str,
    fields: dict[str, Any],
    methods: Sequence[Method],
    shown: dict[str, Any],
    as_json: bool,
) -> None:
    # Imported here: diffusers and matplotlib take seconds that a refused option need not wait for.
    from forecastcache.evaluation import tables
    from forecastcache.evaluation.captions import captions
    from forecastcache.evaluation.measure import Measure
    from forecastcache.evaluation.provenance import provenance
    from forecastcache.evaluation.side_by_side import save_side_by_side
    from forecastcache.zoo.scores import scorer_of

    pipe, (request,) = load_and_ask(model, device, dtype, [fields])
    arguments = request.arguments(pipe)  # refuses before the first run
    pipe.set_progress_bar_config(disable=True)
    found: list[Measured] = []
    with progress_bars(as_json) as progress, plainly_warned():
        for method in methods:
            with method.apply(pipe, request):
                pass  # refuses before the first run
        scorer = scorer_of(model, arguments) if model.startswith(zoo.PREFIX) else None
        measure = Measure(pipe, request, scorer)
        for method in methods:
            found.append(_measured(measure, method))
            progress("methods", len(found), len(methods))
    of = provenance(pipe, request, model)
    save_side_by_side(found, captions(pipe, request), of, as_typed(), **shown)
    rows = [it.row for it in found]
    if as_json:
        paths = {name: str(shown[name]) for name in ("picture", "page")}
        print(json.dumps({**of, "rows": [row.figures() for row in rows], **paths}, indent=2))
    else:
        print_rows(*tables.cells(rows))
        print(*tables.remarks(rows), shown["picture"], shown["page"], sep="\n")


def _measured(measure: Measure, method: Method) -> Measured:
    try:
        return measure(method)
    except ForecastCacheError:
        raise
    except Exception as error:  # a baseline may fail in any way
        if method.kind != "baseline":
            raise
        said = " ".join(str(error).split()) or type(error).__name__
        raise OptionError(f"{method.name} fails ({said}): leave it out") from error
