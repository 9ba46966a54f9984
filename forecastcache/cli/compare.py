"""forecastcache compare: methods side by side with the plain run, to look at."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

from forecastcache import zoo
from forecastcache.bounds import MOST
from forecastcache.cli import completion
from forecastcache.cli.args import choose, request_fields, site_from
from forecastcache.cli.argv import as_typed
from forecastcache.cli.asking import load_and_ask
from forecastcache.cli.console import plainly_warned, progress_bars
from forecastcache.cli.method_options import SiteOption
from forecastcache.cli.narrow import print_rows
from forecastcache.cli.options import (
    THEME_NAMES,
    ClassesOption,
    DeviceOption,
    DtypeOption,
    GuidanceOption,
    JsonOption,
    ModelArgument,
    NegativePromptOption,
    PromptsOption,
    SecondGuidanceOption,
    SeedOption,
    SizeOption,
    StepsOption,
    ThemeOption,
)
from forecastcache.cli.outputs import require_folder, stem_of
from forecastcache.cli.panels import how, output, what
from forecastcache.errors import ForecastCacheError, OptionError
from forecastcache.zoo import usual_steps

if TYPE_CHECKING:
    from forecastcache.evaluation.measure import Measure, Measured
    from forecastcache.evaluation.method import Method

COUNT = 6  # samples where nothing says how many

MethodOption = Annotated[
    str,
    how(
        metavar="METHOD",
        help="A method: a predictor, with a schedule and a site where it is to have its own "
        "('taylor every:5, module'); learned, the zoo model's calibration; a calibration's or a "
        "set-up's file; or a baseline (steps:count=12).",
        autocompletion=completion.predictors,
    ),
]
FurtherOption = Annotated[
    str | None,
    how(metavar="METHOD", help="Another method.", autocompletion=completion.predictors),
]
EqualCountOption = Annotated[
    int | None,
    how(
        "--computed", min=1, max=MOST["steps"],
        help="Number of computed steps of methods that name none. Left out, a fifth.",
    ),
]  # fmt: skip
EqualScheduleOption = Annotated[
    str | None,
    how(
        metavar="SPEC",
        help="Schedule of predictors that name none. Left out, warped, as many as --computed.",
        autocompletion=completion.schedules,
    ),
]
ShownCountOption = Annotated[
    int | None,
    what(
        "--count", min=1, max=MOST["samples"],
        help="Number of samples. Left out, all prompts of the file, else 6.",
    ),
]  # fmt: skip
CompareOutOption = Annotated[
    Path, output(metavar="FOLDER", help="Folder of the picture and the page.")
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
    negative_prompt: NegativePromptOption = None,
    size: SizeOption = None,
    guidance_scale: GuidanceOption = None,
    guidance_scale_2: SecondGuidanceOption = None,
    device: DeviceOption = None,
    dtype: DtypeOption = None,
    out: CompareOutOption = Path("forecastcache-compare"),
    theme: ThemeOption = "light",
    as_json: JsonOption = False,
) -> None:
    """Put methods side by side with the plain run of MODEL: a picture, and a page with sliders."""
    steps = steps or usual_steps(model)
    stem = stem_of(model)
    paths = {"picture": out / f"{stem}-compare.png", "page": out / f"{stem}-compare.html"}
    shown = {**paths, "theme": choose("theme", theme, THEME_NAMES)}
    require_folder("--out", out, *(path.name for path in paths.values()))
    wanted = steps, seed, count, classes, prompts, guidance_scale, size
    fields = request_fields(*wanted, (negative_prompt, guidance_scale_2))
    fields["count"] = count or len(fields.get("prompts", ())) or COUNT
    said = [it for it in (a, b, c, d) if it is not None]
    methods = _methods(said, model, steps, computed, schedule, str(site_from(site)))
    _compare_and_show(model, device, dtype, fields, methods, shown, as_json)


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
    device: str | None,
    dtype: str | None,
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
