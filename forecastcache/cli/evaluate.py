"""forecastcache evaluate: how predictors and baselines compare, in one table."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from forecastcache.cli.args import choose, numbers_from, request_fields
from forecastcache.cli.argv import as_typed
from forecastcache.cli.asking import load_and_ask
from forecastcache.cli.console import plainly_warned, progress_bars
from forecastcache.cli.method_options import (
    BaselinesOption,
    CountsOption,
    IntervalsOption,
    PredictorsOption,
    RowsOfOption,
    SchedulesOption,
    SitesOption,
    SweepOption,
)
from forecastcache.cli.narrow import print_rows
from forecastcache.cli.options import (
    THEME_NAMES,
    ClassesOption,
    DeviceOption,
    DtypeOption,
    GuidanceOption,
    HtmlOption,
    JsonOption,
    MeasuredCountOption,
    MetricsOption,
    ModelArgument,
    NegativePromptOption,
    PromptsOption,
    SecondGuidanceOption,
    SeedOption,
    SizeOption,
    StepsOption,
    TableOutOption,
    ThemeOption,
)
from forecastcache.cli.outputs import require_folder
from forecastcache.errors import OptionError
from forecastcache.granularity import sites_in
from forecastcache.zoo import usual_steps

if TYPE_CHECKING:
    from forecastcache.evaluation.evaluate import Evaluation

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
    negative_prompt: NegativePromptOption = None,
    size: SizeOption = None,
    guidance_scale: GuidanceOption = None,
    guidance_scale_2: SecondGuidanceOption = None,
    device: DeviceOption = None,
    dtype: DtypeOption = None,
    metrics: MetricsOption = [],  # noqa: B006
    out: TableOutOption = Path("forecastcache-evaluate"),
    html: HtmlOption = False,
    theme: ThemeOption = "light",
    as_json: JsonOption = False,
) -> None:
    """Compare many ways of sampling MODEL with the plain run, in one table."""
    asked: dict[str, Any] = {
        "predictors": predictor,
        "schedules": [*schedule, *(f"every:{n}" for n in numbers_from("interval", interval))],
        "baselines": baseline,
        "calibration": calibration,
        "counts": numbers_from("computed", computed),
        **({} if site is None else {"sites": sites_in(site)}),
    }
    shown = Tables(metrics, out, as_json, html, theme)
    wanted = steps or usual_steps(model), seed, count, classes, prompts, guidance_scale, size
    fields = request_fields(*wanted, (negative_prompt, guidance_scale_2))
    fields["count"] = count or len(fields.get("prompts", ())) or COUNT
    _evaluate_and_show(model, device, dtype, fields, asked, sweep, shown)


@dataclass(frozen=True)
class Tables:
    """What an evaluation measures beside the usual, writes and prints.

    Attributes:
        metrics: further metrics, some in one text.
        out: folder of tables and pictures.
        as_json: whether one JSON object is printed.
        html: whether there is a page of all of it, too.
        theme: colours of the pictures.

    Raises:
        OptionError: the folder cannot be written, or there is no such theme.
    """

    metrics: Sequence[str]
    out: Path
    as_json: bool
    html: bool
    theme: str

    def __post_init__(self) -> None:
        require_folder("--out", self.out)
        choose("theme", self.theme, THEME_NAMES)

    @property
    def further(self) -> list[str]:
        """The further metrics, one by one."""
        return [it for text in self.metrics for it in text.split(",")]


def _evaluate_and_show(
    model: str,
    device: str | None,
    dtype: str | None,
    fields: dict[str, Any],
    asked: dict[str, Any],
    sweep: Path | None,
    shown: Tables,
) -> None:
    if sweep is not None and any(asked.values()):
        raise OptionError(
            "--sweep says what to compare: leave out --predictor, --schedule, --interval, --site, "
            "--calibration, --computed and --baseline"
        )
    # Imported here: diffusers and matplotlib take seconds that a refused option need not wait for.
    from forecastcache.calibration.distributed import process_group
    from forecastcache.evaluation.evaluate import evaluate
    from forecastcache.evaluation.sweep import Sweep
    from forecastcache.metrics.metric import metrics_of

    chosen = Sweep.read(sweep) if sweep else Sweep.of("the options", asked)
    with plainly_warned():
        methods = chosen.methods(fields["steps"])
        metrics_of(shown.further)  # refuses before a model is loaded
    with process_group() as group:
        quiet = shown.as_json or not group.is_main
        pipe, (request,) = load_and_ask(model, device, dtype, [fields], group)
        pipe.set_progress_bar_config(disable=True)
        with progress_bars(quiet) as progress, plainly_warned():
            found = evaluate(
                pipe, request, methods, model, shown.out, progress, group, shown.further
            )
    if not group.is_main:
        return
    _show(found, shown)


def _show(found: Evaluation, shown: Tables) -> None:
    from forecastcache.evaluation import tables

    saved = found.save(shown.out, shown.html, as_typed(), shown.theme)
    measured = len(found.rows) - found.kept
    if shown.as_json:
        print(json.dumps({**found.figures(), "kept": found.kept, "measured": measured}, indent=2))
    else:
        print_rows(*tables.cells(found.rows))
        print(f"Rows: {found.kept} kept from before, {measured} measured.")
        print(*tables.remarks(found.rows), *saved, sep="\n")
