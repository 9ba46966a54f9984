"""forecastcache run: a model sampled plainly and with forecasting, side by side."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from forecastcache import zoo
from forecastcache._util.decibels import format_decibels
from forecastcache.cli.args import request_fields
from forecastcache.cli.asking import load_and_ask, show_sampling
from forecastcache.cli.chosen import Chosen, Said, Wanted, prepared
from forecastcache.cli.console import plainly_warned, print_measurement
from forecastcache.cli.method_options import (
    CalibrationOption,
    ComputedOption,
    ConfigOption,
    FirstOption,
    IntervalOption,
    OrderOption,
    PredictorOption,
    PsnrOption,
    ScheduleOption,
    SetOption,
    SiteOfRunOption,
    SpeedupOption,
)
from forecastcache.cli.options import (
    ClassesOption,
    DeviceOption,
    DtypeOption,
    GuidanceOption,
    JsonOption,
    ModelArgument,
    NegativePromptOption,
    PromptsOption,
    RunOutOption,
    SampleCountOption,
    SaveImagesOption,
    SecondGuidanceOption,
    SeedOption,
    SizeOption,
    StepsOption,
)
from forecastcache.cli.outputs import require_folder, stem_of
from forecastcache.cli.verbosity import is_quiet
from forecastcache.errors import OptionError
from forecastcache.zoo import usual_steps

if TYPE_CHECKING:
    from forecastcache.calibration.distributed import ProcessGroup
    from forecastcache.evaluation.captions import Caption
    from forecastcache.evaluation.measure import Measured
    from forecastcache.sampling.request import Request


def run_command(
    model: ModelArgument,
    predictor: PredictorOption = None,
    order: OrderOption = None,
    settings: SetOption = [],  # noqa: B006  # typer copies it
    interval: IntervalOption = None,
    first: FirstOption = None,
    schedule: ScheduleOption = None,
    config: ConfigOption = None,
    calibration: CalibrationOption = None,
    speedup: SpeedupOption = None,
    computed: ComputedOption = None,
    psnr: PsnrOption = None,
    site: SiteOfRunOption = None,
    steps: StepsOption = None,
    seed: SeedOption = None,
    count: SampleCountOption = None,
    classes: ClassesOption = None,
    prompts: PromptsOption = None,
    negative_prompt: NegativePromptOption = None,
    size: SizeOption = None,
    guidance_scale: GuidanceOption = None,
    guidance_scale_2: SecondGuidanceOption = None,
    device: DeviceOption = None,
    dtype: DtypeOption = None,
    out: RunOutOption = Path("forecastcache-run"),
    save_images: SaveImagesOption = None,
    as_json: JsonOption = False,
) -> None:
    """Sample MODEL plainly and with forecasting, and show both with their figures."""
    steps = steps or usual_steps(model)
    asked = Said(
        predictor, order, settings, interval, first, schedule, site, config,
        calibration, speedup, computed, psnr,
    ).chosen(steps)  # fmt: skip
    shown = Shown(out / f"{stem_of(model)}-{asked.name}.png", save_images, as_json)
    request = steps, seed, count, classes, prompts, guidance_scale, size
    fields = request_fields(*request, (negative_prompt, guidance_scale_2))
    _measure_and_show(model, device, dtype, fields, asked, shown)


@dataclass(frozen=True)
class Shown:
    """What a run writes and prints.

    Attributes:
        sheet: path of the picture of all samples.
        images: folder of the samples one by one; None to write none.
        as_json: whether one JSON object is printed.

    Raises:
        OptionError: the picture or the samples cannot be written.
    """

    sheet: Path
    images: Path | None
    as_json: bool

    def __post_init__(self) -> None:
        require_folder("--out", self.sheet.parent, self.sheet.name)
        if self.images is not None:
            require_folder("--save-images", self.images)


def _measure_and_show(
    model: str,
    device: str | None,
    dtype: str | None,
    fields: dict[str, Any],
    asked: Chosen | Wanted,
    shown: Shown,
) -> None:
    # Imported here: diffusers and matplotlib take seconds that a refused option need not wait for.
    from forecastcache.calibration.distributed import process_group

    with process_group() as group:
        quiet = shown.as_json or is_quiet() or not group.is_main
        pipe, (request,) = load_and_ask(model, device, dtype, [fields], group)
        request.arguments(pipe)  # refuses before the first run
        show_sampling(pipe, quiet)
        if group.size > 1:
            _require_same(group, pipe, request, model, asked)
        with group.main_first():
            chosen = prepared(asked, model, pipe, request, fields, quiet)
        found = _measured(model, pipe, request, chosen, group)
        drifts = group.gather(dict(chosen.drift))
    if group.is_main:
        worst = {step: max(it.get(step, 0.0) for it in drifts) for it in drifts for step in it}
        _show(model, request, pipe, found, replace(chosen, drift=worst), shown)


def _require_same(
    group: ProcessGroup, pipe: Any, request: Request, model: str, asked: Chosen | Wanted
) -> None:
    from forecastcache.evaluation.provenance import provenance, to_agree_on

    group.require_same(to_agree_on(provenance(pipe, request, model), [repr(asked)]))


def _measured(
    model: str, pipe: Any, request: Request, chosen: Chosen, group: ProcessGroup
) -> Measured:
    """The figures of all samples, of which each process makes its share."""
    from forecastcache.evaluation.measure import Measure
    from forecastcache.evaluation.method import Forecast
    from forecastcache.sampling.share import share
    from forecastcache.zoo.scores import scorer_of

    method = Forecast(
        chosen.predictor, chosen.schedule, chosen.site, str(chosen.predictor),
        str(chosen.schedule), chosen.identity, config=chosen.config,
    )  # fmt: skip
    mine = share(request, pipe, group.rank, group.size)
    with plainly_warned():
        with method.apply(pipe, mine):
            pass  # refuses before the first run
        arguments = request.arguments(pipe)
        scorer = scorer_of(model, arguments) if model.startswith(zoo.PREFIX) else None
        return Measure(pipe, mine, scorer, group=group)(method)


def _show(
    model: str, request: Request, pipe: Any, found: Measured, chosen: Chosen, shown: Shown
) -> None:
    from forecastcache.evaluation.captions import captions

    seeds = [generator.initial_seed() for generator in request.keywords(pipe)["generator"]]
    images = _saved_images(found, seeds, shown.images)
    saved = _drawn(model, found, shown.sheet, captions(pipe, request))
    guidance = request.guidance(pipe)
    if shown.as_json:
        about = {"model": model, "seed": seeds[0], "guidance_scale": guidance}
        learned = {} if chosen.learned is None else {"learned": chosen.told()}
        paths: dict[str, Any] = {kind: str(path) for kind, path in saved.items()}
        paths |= {"images": [str(path) for path in images]} if images else {}
        print(json.dumps({**about, **learned, **found.row.figures(), **paths}, indent=2))
    else:
        print_measurement(model, found.row, guidance, chosen.told(), seeds)
        if images:
            print(f"{len(images)} images in {shown.images}")
        print(*saved.values(), sep="\n")


def _saved_images(found: Measured, seeds: Sequence[int], folder: Path | None) -> list[Path]:
    if folder is None:
        return []
    from forecastcache.cli.images import save_each

    of_kinds = {"plain": found.plain, "forecast": found.samples}
    return [it for kind, of in of_kinds.items() for it in save_each(of, seeds, kind, folder)]


def _drawn(model: str, found: Measured, sheet: Path, asked: Sequence[Caption]) -> dict[str, Path]:
    """Pictures of both runs, by kind."""
    from forecastcache.evaluation.pictures import contact_sheet, film

    row, saved = found.row, {"picture": sheet}
    try:
        contact_sheet(
            found.plain,
            found.samples,
            title=f"{model}: {row.count} of {row.steps} steps computed",
            caption=f"{row.predictor} at {row.site}; {row.speedup:.2f} times as fast, PSNR of "
            f"samples {format_decibels(row.psnr_db)}, of latents "
            f"{format_decibels(row.latent_psnr_db)}, cache {row.cache_bytes:,} bytes",
            path=sheet,
            captions=asked,
        )
        if found.plain.dim() == 5:
            saved["film"] = sheet.with_suffix(".gif")
            film(found.plain, found.samples, saved["film"])
    except OSError as error:
        raise OptionError(
            f"{list(saved.values())[-1]} cannot be written ({error.strerror}): give another --out"
        ) from None
    return saved
