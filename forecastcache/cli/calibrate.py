"""forecastcache calibrate: learn from a few prompts what serves every speed."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

from forecastcache.cli.args import requests_fields
from forecastcache.cli.asking import load_and_ask
from forecastcache.cli.console import print_calibration, print_expected, progress_bars
from forecastcache.cli.method_options import (
    DryRunOption,
    ElementsOption,
    EvaluationsOption,
    MicroBatchOption,
    RefineOption,
    TargetsOption,
    TriesOption,
)
from forecastcache.cli.options import (
    CalibrationOutOption,
    CalibrationSeedOption,
    ClassesOption,
    DeviceOption,
    DtypeOption,
    GuidanceScalesOption,
    JsonOption,
    ModelArgument,
    NegativePromptOption,
    PromptCountOption,
    PromptsOption,
    SecondGuidanceOption,
    SizesOption,
    StepsOption,
)
from forecastcache.cli.outputs import require_file
from forecastcache.cli.verbosity import is_quiet
from forecastcache.errors import OptionError
from forecastcache.zoo import usual_steps

if TYPE_CHECKING:
    from forecastcache.calibration.targets import Effort, FitTarget

COUNT = 8  # prompts where nothing says how many
SEED = 1000  # far from those of the pictures that `run` and `evaluate` make
NONE = "none"  # schedules: record alone


def calibrate_command(
    model: ModelArgument,
    out: CalibrationOutOption,
    prompts: PromptsOption = None,
    classes: ClassesOption = None,
    count: PromptCountOption = None,
    schedule: TargetsOption = [],  # noqa: B006  # typer copies it
    tries: TriesOption = 24,
    refine: RefineOption = True,
    evaluations: EvaluationsOption = None,
    elements: ElementsOption = 65536,
    micro_batch: MicroBatchOption = 8,
    steps: StepsOption = None,
    seed: CalibrationSeedOption = None,
    negative_prompt: NegativePromptOption = None,
    size: SizesOption = [],  # noqa: B006
    guidance_scale: GuidanceScalesOption = [],  # noqa: B006
    guidance_scale_2: SecondGuidanceOption = None,
    device: DeviceOption = None,
    dtype: DtypeOption = None,
    dry_run: DryRunOption = False,
    as_json: JsonOption = False,
) -> None:
    """Learn from plain runs of MODEL what serves any speed, and write it to a small file."""
    steps = steps or usual_steps(model)
    model_options, targets = (model, device, dtype), _targets(schedule, steps)
    require_file("--out", out)
    asked = steps, seed, count, classes, prompts, guidance_scale, size
    fields = requests_fields(*asked, usual_seed=SEED, further=(negative_prompt, guidance_scale_2))
    samples = [it["count"] or len(it.get("prompts", ())) or COUNT for it in fields]
    fields = [{**it, "count": count} for it, count in zip(fields, samples)]
    effort = _effort(samples, steps, targets, tries, refine, evaluations)
    options = {
        "micro_batch": micro_batch, "tries": tries, "refine": refine,
        "evaluations": evaluations, "elements": elements,
    }  # fmt: skip
    if dry_run:
        _show_expected(model_options, fields, effort, micro_batch, elements, as_json)
    else:
        _calibrate_and_show(model_options, fields, out, effort, options, as_json)


def _effort(*asked: Any) -> Effort:
    from forecastcache.calibration.targets import Effort

    return Effort.within(*asked)


def _targets(schedules: Sequence[str], steps: int) -> list[FitTarget]:
    from forecastcache.calibration.targets import FitTarget

    if NONE in schedules:
        if len(schedules) > 1:
            raise OptionError("--schedule none fits nothing: leave the other schedules out, or it")
        return []
    asked = [FitTarget.of(text, steps) for text in schedules]
    return list(dict.fromkeys(asked)) or FitTarget.usual(steps)


def _show_expected(
    model_options: tuple[str, str | None, str | None],
    fields: Sequence[dict[str, Any]],
    effort: Effort,
    micro_batch: int,
    elements: int,
    as_json: bool,
) -> None:
    from forecastcache.calibration.expected import expected

    pipe, requests = load_and_ask(*model_options, fields, split="calibration")
    pipe.set_progress_bar_config(disable=True)
    found = expected(pipe, requests, effort, micro_batch, elements)
    if as_json:
        plain_runs = {"plain_runs": effort.plain_runs, "seconds": found.seconds}
        print(json.dumps({**asdict(found), **plain_runs}, indent=2))
    else:
        print_expected(found, effort)


def _calibrate_and_show(
    model_options: tuple[str, str | None, str | None],
    fields: Sequence[dict[str, Any]],
    out: Path,
    effort: Effort,
    options: dict[str, Any],
    as_json: bool,
) -> None:
    # Imported here: diffusers takes seconds that a refused option need not wait for.
    from forecastcache.calibration.calibrate import calibrate
    from forecastcache.calibration.distributed import process_group

    model, device, dtype = model_options
    with process_group() as group:
        quiet = as_json or is_quiet() or not group.is_main
        if not quiet:
            print(
                f"{sum(effort.samples)} prompts: {effort.record:,} evaluations of the network to "
                f"record, {effort.total - effort.record:,} at most to search, fit and refine; "
                f"together as many as {effort.plain_runs:.0f} plain runs of each"
            )
        pipe, requests = load_and_ask(model, device, dtype, fields, group, split="calibration")
        pipe.set_progress_bar_config(disable=True)
        with progress_bars(quiet) as progress:
            made = calibrate(
                pipe, requests, out, effort.targets, **options, progress=progress, group=group
            )
    if not group.is_main:
        return
    figures = {"model": model, "file": str(out), **made.figures()}
    if as_json:
        print(json.dumps(figures, indent=2))
    else:
        print_calibration(figures)
        print(out)
