"""forecastcache calibrate: learn from some fifty prompts what serves every speed."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from forecastcache.cli.args import choose, load_and_ask, requests_fields
from forecastcache.cli.console import print_calibration, progress_bars
from forecastcache.cli.options import (
    DTYPES,
    CalibrationOutOption,
    CalibrationSeedOption,
    ClassesOption,
    DeviceOption,
    DtypeOption,
    GuidanceOption,
    JsonOption,
    LimitOption,
    MicroBatchOption,
    ModelArgument,
    PromptCountOption,
    PromptsOption,
    SizesOption,
    StepsOption,
    TargetsOption,
    TriesOption,
)
from forecastcache.cli.outputs import require_file
from forecastcache.errors import OptionError

if TYPE_CHECKING:
    from forecastcache.calibration.targets import CalibrationCost, FitTarget

COUNT = 50  # prompts where nothing says how many
SEED = 1000  # far from those of the pictures that `run` and `evaluate` make


def calibrate_command(
    model: ModelArgument,
    out: CalibrationOutOption,
    prompts: PromptsOption = None,
    classes: ClassesOption = None,
    count: PromptCountOption = None,
    schedule: TargetsOption = [],  # noqa: B006  # typer copies it
    tries: TriesOption = 60,
    limit: LimitOption = None,
    micro_batch: MicroBatchOption = 8,
    steps: StepsOption = 50,
    seed: CalibrationSeedOption = None,
    size: SizesOption = [],  # noqa: B006
    guidance_scale: GuidanceOption = None,
    device: DeviceOption = "cpu",
    dtype: DtypeOption = "float32",
    as_json: JsonOption = False,
) -> None:
    """Record plain runs of MODEL and fit what any speed needs, into one small file."""
    from forecastcache.calibration.targets import CalibrationCost, FitTarget

    chosen_dtype = choose("dtype", dtype, DTYPES)
    targets = [FitTarget.of(text, steps) for text in schedule]
    require_file("--out", out)
    fields = requests_fields(
        steps, seed, count, classes, prompts, guidance_scale, size, usual_seed=SEED
    )
    for each in fields:
        each["count"] = each["count"] or len(each.get("prompts", ())) or COUNT
    _require_enough(prompts, fields)
    cost = CalibrationCost.of([each["count"] for each in fields], steps, targets, tries)
    _require_within(cost, limit)
    options = {"micro_batch": micro_batch, "tries": tries}
    _calibrate_and_show(model, device, chosen_dtype, fields, out, targets, cost, options, as_json)


def _require_enough(prompts: Path | None, fields: Sequence[dict[str, Any]]) -> None:
    from forecastcache.calibration.targets import FEWEST

    if any(each["count"] < FEWEST for each in fields):
        where = f"--prompts {prompts} has" if prompts else "--count asks for"
        raise OptionError(f"{where} one prompt: give {FEWEST} at least, of each size")


def _require_within(cost: CalibrationCost, limit: int | None) -> None:
    if limit is not None and cost.total > limit:
        raise OptionError(
            f"this would take {cost.total:,} evaluations of the network, {cost.fit:,} of them to "
            f"fit: more than --limit {limit:,}; ask for fewer --schedule, --tries or --count"
        )


def _calibrate_and_show(
    model: str,
    device: str,
    dtype: str,
    fields: Sequence[dict[str, Any]],
    out: Path,
    targets: Sequence[FitTarget],
    cost: CalibrationCost,
    options: dict[str, int],
    as_json: bool,
) -> None:
    # Imported here: diffusers takes seconds that a refused option need not wait for.
    from forecastcache.calibration.calibrate import calibrate
    from forecastcache.calibration.distributed import process_group

    with process_group() as group:
        quiet = as_json or not group.is_main
        if not quiet:
            print(
                f"{sum(each['count'] for each in fields)} prompts: {cost.record:,} evaluations of "
                "the network to record" + (f", {cost.fit:,} at most to fit" if cost.fit else "")
            )
        pipe, requests = load_and_ask(
            model, group.device(device), dtype, fields, split="calibration"
        )
        pipe.set_progress_bar_config(disable=True)
        with progress_bars(quiet) as progress:
            calibration = calibrate(
                pipe, requests, out, targets, **options, progress=progress, group=group
            )
    if not group.is_main:
        return
    figures = {"model": model, "file": str(out), "evaluations": cost.total}
    figures |= calibration.figures()
    if as_json:
        print(json.dumps(figures, indent=2))
    else:
        print_calibration(figures)
        print(out)
