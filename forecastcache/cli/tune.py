"""forecastcache tune: a schedule that decides as it runs, made for a model."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Annotated, Any

from forecastcache._util.progress import Progress
from forecastcache.bounds import MOST
from forecastcache.cli import completion
from forecastcache.cli.args import choose, request_fields
from forecastcache.cli.asking import load_and_ask
from forecastcache.cli.console import plainly_warned, progress_bars
from forecastcache.cli.method_options import SiteOption
from forecastcache.cli.options import (
    CalibrationSeedOption,
    ClassesOption,
    DeviceOption,
    DtypeOption,
    GuidanceOption,
    JsonOption,
    ModelArgument,
    NegativePromptOption,
    PromptsOption,
    SecondGuidanceOption,
    SizeOption,
    StepsOption,
)
from forecastcache.cli.panels import how, what
from forecastcache.granularity import GRANULARITIES, Granularity
from forecastcache.predictor import Predictor
from forecastcache.schedule import Schedule
from forecastcache.spec import as_text, parse_predictor, parse_schedule
from forecastcache.zoo import usual_steps

if TYPE_CHECKING:
    from forecastcache.sampling.request import Request

SEED = 1000  # of what is calibrated with, so that no picture shown is


AdaptiveOption = Annotated[
    str,
    how(
        metavar="SPEC",
        help="The schedule that decides as it runs: teacache, magcache:in_a_row=5, ... "
        "`forecastcache list` shows all.",
        autocompletion=completion.schedules,
    ),
]
MeanCountOption = Annotated[
    float | None,
    how(
        min=1,
        max=MOST["steps"],
        help="Mean number of steps to compute, for which the threshold is solved. Left out, "
        "the threshold stays as it is.",
    ),
]
ForecasterOption = Annotated[
    str,
    how(
        metavar="SPEC",
        help="Predictor of the other steps.",
        autocompletion=completion.predictors,
    ),
]
TunedCountOption = Annotated[
    int | None,
    what(
        min=1,
        max=MOST["samples"],
        help="Number of samples. Left out, all prompts of the file, else 4.",
    ),
]


def tune_command(
    model: ModelArgument,
    schedule: AdaptiveOption,
    computed: MeanCountOption = None,
    predictor: ForecasterOption = "taylor",
    site: SiteOption = "output",
    steps: StepsOption = None,
    seed: CalibrationSeedOption = None,
    count: TunedCountOption = None,
    classes: ClassesOption = None,
    prompts: PromptsOption = None,
    size: SizeOption = None,
    negative_prompt: NegativePromptOption = None,
    guidance_scale: GuidanceOption = None,
    guidance_scale_2: SecondGuidanceOption = None,
    device: DeviceOption = None,
    dtype: DtypeOption = None,
    as_json: JsonOption = False,
) -> None:
    """Fit a schedule that decides as it runs to MODEL, and print it with its threshold."""
    steps = steps or usual_steps(model)
    chosen_site = choose("site", site, dict(zip(GRANULARITIES, GRANULARITIES)))
    asked, forecaster = parse_schedule(schedule), parse_predictor(predictor)
    count = count or (None if classes or prompts else 4)
    seed = SEED if seed is None else seed
    wanted = steps, seed, count, classes, prompts, guidance_scale, size
    fields = request_fields(*wanted, (negative_prompt, guidance_scale_2))
    _require_solvable(asked, computed, steps)
    pipe, (request,) = load_and_ask(model, device, dtype, [fields], split="calibration")
    pipe.set_progress_bar_config(disable=True)
    with progress_bars(as_json) as progress, plainly_warned():
        found = _tuned(pipe, request, asked, computed, forecaster, chosen_site, progress)
    print(json.dumps({"schedule": as_text(found)}, indent=2) if as_json else as_text(found))


def _require_solvable(schedule: Schedule, computed: float | None, steps: int) -> None:
    # Imported here: scipy takes seconds that a refused option need not wait for.
    from forecastcache.calibration.thresholds import require_solvable

    if computed is not None:
        require_solvable(schedule, computed, steps)


def _tuned(
    pipe: Any,
    request: Request,
    schedule: Schedule,
    computed: float | None,
    predictor: Predictor,
    site: Granularity,
    progress: Progress,
) -> Schedule:
    """The schedule, fitted to the model, and solved for a number of computed steps if any."""
    from forecastcache.calibration.schedule_fit import fit_schedule
    from forecastcache.calibration.thresholds import solve_threshold

    fitted = fit_schedule(pipe, request, schedule, progress=progress)
    if computed is None:
        return fitted
    return solve_threshold(
        pipe, request, fitted, predictor, computed, site=site, progress=progress
    )
