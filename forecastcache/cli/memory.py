"""forecastcache memory: what a cache will hold, from a configuration alone."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Annotated

import typer

from forecastcache.adapter import GRANULARITIES
from forecastcache.bounds import MOST
from forecastcache.cli.args import choose, predictor_from
from forecastcache.cli.console import print_plan
from forecastcache.cli.options import (
    DTYPES,
    DtypeOption,
    JsonOption,
    OrderOption,
    SetOption,
    SiteOption,
)
from forecastcache.errors import OptionError
from forecastcache.memory.input_size import InputSize
from forecastcache.memory.plan import plan_memory
from forecastcache.memory.planned_model import published_names

PlannedArgument = Annotated[
    str, typer.Argument(help=f"zoo:NAME, a folder, a hub id, {', '.join(published_names())}")
]
PixelsOption = Annotated[
    int | None, typer.Option(min=1, max=MOST["pixels"], help="pixels (the model's usual)")
]
FramesOption = Annotated[int | None, typer.Option(min=1, max=MOST["frames"], help="of a video")]
BatchOption = Annotated[
    int, typer.Option(min=1, max=MOST["samples"], help="pictures or videos at once")
]
TextTokensOption = Annotated[
    int | None, typer.Option(min=1, max=MOST["text tokens"], help="with padding")
]
GuidedOption = Annotated[
    bool | None,
    typer.Option("--guidance/--no-guidance", help="an unconditional half (model's habit)"),
]
SpecOption = Annotated[str | None, typer.Option(help="a name, or name:option=value,... (taylor)")]
DepthOption = Annotated[
    int | None,
    typer.Option(min=1, max=MOST["steps"], help="features kept, instead of the predictor's"),
]
StorageOption = Annotated[str | None, typer.Option(help="of the histories (dtype)")]


def memory_command(
    model: PlannedArgument,
    height: PixelsOption = None,
    width: PixelsOption = None,
    frames: FramesOption = None,
    batch: BatchOption = 1,
    text_tokens: TextTokensOption = None,
    guidance: GuidedOption = None,
    predictor: SpecOption = None,
    order: OrderOption = None,
    settings: SetOption = [],  # noqa: B006  # typer copies it
    depth: DepthOption = None,
    site: SiteOption = "output",
    dtype: DtypeOption = "bfloat16",
    storage_dtype: StorageOption = None,
    as_json: JsonOption = False,
) -> None:
    """Say what a cache of MODEL will hold, from its configuration alone."""
    chosen_site = choose("site", site, {name: name for name in GRANULARITIES})
    chosen_dtype = choose("dtype", dtype, DTYPES)
    stored = None if storage_dtype is None else choose("storage-dtype", storage_dtype, DTYPES)
    import torch

    planned = plan_memory(
        model,
        InputSize(height, width, frames, batch, text_tokens),
        depth=_depth(depth, predictor, order, settings),
        site=chosen_site,
        guidance=guidance,
        dtype=getattr(torch, chosen_dtype),
        storage=None if stored is None else getattr(torch, stored),
    )
    if as_json:
        print(json.dumps(planned.figures(), indent=2))
    else:
        print_plan(planned)


def _depth(
    depth: int | None, predictor: str | None, order: int | None, settings: Sequence[str]
) -> int:
    """Features kept a site, of `--depth` or of a predictor."""
    if depth is None:
        return predictor_from(predictor or "taylor", order, settings).depth
    given = {"--predictor": predictor, "--order": order, "--set": settings or None}
    for option, value in given.items():
        if value is not None:
            raise OptionError(
                f"--depth and {option} both say how many features are kept: leave one out"
            )
    return depth
