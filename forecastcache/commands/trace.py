"""forecastcache trace: how the features of a plain run move."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated

import typer

from forecastcache import zoo
from forecastcache.arguments import choose, require_writable
from forecastcache.commands.asking import load_and_ask, request_fields
from forecastcache.commands.options import (
    DTYPES,
    AsJson,
    Classes,
    Device,
    Dtype,
    Guidance,
    Model,
    Prompts,
    Seed,
    Steps,
)
from forecastcache.whole import whole


def trace(
    model: Model,
    module: Annotated[
        str | None,
        typer.Option(help="whose outputs are traced: transformer_blocks.2.attn (the model's)"),
    ] = None,
    steps: Steps = 50,
    seed: Seed = 0,
    count: Annotated[int, typer.Option(min=1, help="samples")] = 4,
    classes: Classes = None,
    prompts: Prompts = None,
    guidance_scale: Guidance = None,
    device: Device = "cpu",
    dtype: Dtype = "float32",
    out: Annotated[Path, typer.Option(help="folder of pictures and data")] = Path(
        "forecastcache-trace"
    ),
    as_json: AsJson = False,
) -> None:
    """Sample MODEL plainly and draw how its features move from step to step."""
    chosen_dtype = choose("dtype", dtype, DTYPES)
    require_writable(out)
    fields = request_fields(steps, seed, count, classes, prompts, guidance_scale)
    # Imported here: diffusers and matplotlib take seconds that a refused option need not wait for.
    from forecastcache.evaluation import charts
    from forecastcache.evaluation.trace import trace as traced

    pipe, (request,) = load_and_ask(model, device, chosen_dtype, [fields])
    seen = traced(pipe, request, module)
    name = model.removeprefix(zoo.PREFIX).strip("/").replace("/", "-")
    stem = name if module is None else f"{name}-{module}"
    saved = [
        out / f"{stem}-{what}" for what in ("trajectories.png", "projections.png", "trace.json")
    ]
    charts.trajectories(seen, saved[0])
    charts.projections(seen, saved[1])
    figures = {"model": model, "module": module, **seen.figures()}
    with whole(saved[2]) as partial:
        partial.write_text(json.dumps(figures) + "\n")
    if as_json:
        print(json.dumps(figures, indent=2))
    else:
        print(*saved, sep="\n")
