"""forecastcache memory: what a cache will hold, from a configuration alone."""

from __future__ import annotations

import json
from typing import Annotated

import typer

from forecastcache.adapter import GRANULARITIES
from forecastcache.arguments import choose, predictor_from
from forecastcache.commands.options import DTYPES, AsJson, Dtype, Order, Settings, Site
from forecastcache.console import print_plan
from forecastcache.planning import plan, planned_model, published_names
from forecastcache.size import Size


def memory(
    model: Annotated[
        str, typer.Argument(help=f"zoo:NAME, a folder, a hub id, {', '.join(published_names())}")
    ],
    height: Annotated[int | None, typer.Option(min=1, help="pixels (the model's usual)")] = None,
    width: Annotated[int | None, typer.Option(min=1, help="pixels (the model's usual)")] = None,
    frames: Annotated[int | None, typer.Option(min=1, help="of a video")] = None,
    batch: Annotated[int, typer.Option(min=1, help="pictures or videos at once")] = 1,
    text_tokens: Annotated[int | None, typer.Option(min=1, help="with padding")] = None,
    guidance: Annotated[
        bool | None,
        typer.Option("--guidance/--no-guidance", help="an unconditional half (model's habit)"),
    ] = None,
    predictor: Annotated[str, typer.Option(help="a name, or name:option=value,...")] = "taylor",
    order: Order = None,
    settings: Settings = [],  # noqa: B006  # typer copies it
    depth: Annotated[
        int | None, typer.Option(min=1, help="features kept, instead of the predictor's")
    ] = None,
    site: Site = "output",
    dtype: Dtype = "bfloat16",
    storage_dtype: Annotated[str | None, typer.Option(help="of the histories (dtype)")] = None,
    as_json: AsJson = False,
) -> None:
    """Say what a cache of MODEL will hold, from its configuration alone."""
    chosen_site = choose("site", site, {name: name for name in GRANULARITIES})
    chosen_dtype = choose("dtype", dtype, DTYPES)
    stored = None if storage_dtype is None else choose("storage-dtype", storage_dtype, DTYPES)
    import torch

    planned = plan(
        planned_model(model),
        Size(height, width, frames, batch, text_tokens),
        depth or predictor_from(predictor, order, settings).depth,
        chosen_site,
        guidance,
        getattr(torch, chosen_dtype),
        None if stored is None else getattr(torch, stored),
    )
    if as_json:
        print(json.dumps(planned.figures(), indent=2))
    else:
        print_plan(planned)
