"""forecastcache memory: what a cache will hold beside its model, from configurations alone."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

from forecastcache.bounds import MOST, shortened
from forecastcache.cli import completion
from forecastcache.cli.args import choose, site_from
from forecastcache.cli.console import quiet_libraries
from forecastcache.cli.depth import Depth, DepthOptions
from forecastcache.cli.memory_table import print_footprint, print_plan
from forecastcache.cli.method_options import SITES, CalibrationOption, OrderOption, SetOption
from forecastcache.cli.options import DTYPES, JsonOption
from forecastcache.cli.outputs import require_file
from forecastcache.cli.panels import argument, how, output, what
from forecastcache.errors import BudgetError, OptionError
from forecastcache.granularity import Granularity
from forecastcache.memory.budget import parse_budget
from forecastcache.memory.footprint import Footprint, footprint
from forecastcache.memory.input_size import InputSize
from forecastcache.memory.planned_model import planned_model, published_names

if TYPE_CHECKING:
    import torch

PlannedArgument = Annotated[
    str,
    argument(
        help="The model: zoo:NAME, a folder, a hub id (owner/name), or a published configuration: "
        f"{', '.join(published_names())}.",
        autocompletion=lambda: [*completion.models(""), *published_names()],
    ),
]
PixelsOption = Annotated[
    int | None,
    what(min=1, max=MOST["pixels"], help="Side in pixels. Left out, the model's usual."),
]
FramesOption = Annotated[
    int | None, what(min=1, max=MOST["frames"], help="Number of frames of a video.")
]
BatchOption = Annotated[
    int | None, what(min=1, max=MOST["samples"], help="Pictures or videos at once. Left out, 1.")
]
TextTokensOption = Annotated[
    int | None,
    what(min=1, max=MOST["text tokens"], help="Number of tokens of the prompt, with padding."),
]
GuidedOption = Annotated[
    bool | None,
    what(
        "--guidance/--no-guidance",
        help="Whether there is an unconditional half, whose features are kept as well. Left out, "
        "the model's habit.",
    ),
]
SpecOption = Annotated[
    str | None,
    how(
        metavar="SPEC",
        help="Predictor whose features are kept: a name, or name:option=value,... Left out, "
        "taylor.",
        autocompletion=completion.predictors,
    ),
]
DepthOption = Annotated[
    int | None,
    how(
        min=1,
        max=MOST["steps"],
        help="Number of features kept at each site, instead of what the predictor keeps.",
    ),
]
CountOption = Annotated[
    int | None,
    how(
        "--computed", min=1, max=MOST["steps"],
        help="Number of computed steps, by the calibration. Left out, a fifth.",
    ),
]  # fmt: skip
PlannedSiteOption = Annotated[
    str | None,
    how(
        "--site", metavar="SITE", help=f"{SITES} Left out, all are shown.",
        autocompletion=completion.sites,
    ),
]  # fmt: skip
PlannedDtypeOption = Annotated[
    str | None,
    how(
        "--dtype",
        metavar="NAME",
        help=f"Type of the weights: {', '.join(DTYPES)}. Left out, bfloat16.",
    ),
]
StorageOption = Annotated[
    str | None, how(metavar="NAME", help="Dtype of the features kept. Left out, that of --dtype.")
]
GpuOption = Annotated[
    str | None,
    how(metavar="SIZE", help="Memory of a GPU, such as 24GiB: says what fits beside the model."),
]
ChartOption = Annotated[
    Path | None,
    output(metavar="FILE", help="PNG or SVG of the memory at each site, as stacked bars."),
]


def memory_command(
    model: PlannedArgument,
    height: PixelsOption = None,
    width: PixelsOption = None,
    frames: FramesOption = None,
    batch: BatchOption = None,
    text_tokens: TextTokensOption = None,
    guidance: GuidedOption = None,
    predictor: SpecOption = None,
    order: OrderOption = None,
    settings: SetOption = [],  # noqa: B006  # typer copies it
    depth: DepthOption = None,
    calibration: CalibrationOption = None,
    computed: CountOption = None,
    site: PlannedSiteOption = None,
    dtype: PlannedDtypeOption = None,
    storage_dtype: StorageOption = None,
    gpu: GpuOption = None,
    chart: ChartOption = None,
    as_json: JsonOption = False,
) -> None:
    """Say how much memory a cache takes beside MODEL, from configurations alone."""
    given = {
        "height": height, "width": width, "frames": frames, "batch": batch,
        "text_tokens": text_tokens, "guidance": guidance, "dtype": dtype,
    }  # fmt: skip
    options = {
        "sites": _sites(site, calibration),
        "dtype": _dtype("dtype", dtype or "bfloat16"),
        "storage": None if storage_dtype is None else _dtype("storage-dtype", storage_dtype),
        "gpu": _bytes(gpu),
        "given": {name for name, value in given.items() if value is not None},
    }
    if chart is not None:
        require_file("--chart", chart)
    size = InputSize(height, width, frames, batch or 1, text_tokens)
    kept = DepthOptions(depth, predictor, order, settings, calibration, computed, site).read()
    found = _planned(model, size, kept, guidance=guidance, **options)
    _show(found, kept.of, site, chart, as_json)


def _show(
    found: Footprint, predictor: str | None, site: str | None, chart: Path | None, as_json: bool
) -> None:
    if chart is not None:
        # Imported here: matplotlib takes a second that plans without a chart need not wait for.
        from forecastcache.evaluation.memory_chart import memory_by_site

        memory_by_site(found, chart)
    if as_json:
        print(json.dumps({**found.figures(), "predictor": predictor}, indent=2))
        return
    print_footprint(found, predictor)
    if site is not None:
        print_plan(found.cache(found.shown[0]))
    if chart is not None:
        print(chart)


def _planned(name: str, size: InputSize, kept: Depth, **options: Any) -> Footprint:
    quiet_libraries()
    model = planned_model(name)
    if kept.identity is not None:
        from forecastcache.calibration.identity import Part

        kept.identity.require(kept.identity.model_copy(update={"model": Part.of(model)}))
    return footprint(model, size, depth=kept.features, **options)


def _sites(site: str | None, calibration: str | None) -> list[Granularity] | None:
    """The sites asked for; a calibration has rows of the output alone."""
    if site is None:
        return None if calibration is None else ["output"]
    return [site_from(site)]


def _dtype(option: str, name: str) -> torch.dtype:
    import torch

    found: torch.dtype = getattr(torch, choose(option, name, DTYPES))
    return found


def _bytes(gpu: str | None) -> int | None:
    try:
        return parse_budget(gpu)
    except BudgetError:
        raise OptionError(
            f"--gpu {shortened(str(gpu))} is no number of bytes above 0: write such as 24GiB"
        ) from None
