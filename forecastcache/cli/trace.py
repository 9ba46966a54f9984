"""forecastcache trace: how the features of a plain run move."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated

import typer

from forecastcache import zoo
from forecastcache._util.atomic_write import atomic_write
from forecastcache.bounds import MOST
from forecastcache.cli.args import choose, load_and_ask, request_fields
from forecastcache.cli.options import (
    DTYPES,
    ClassesOption,
    DeviceOption,
    DtypeOption,
    GuidanceOption,
    JsonOption,
    ModelArgument,
    PromptsOption,
    SeedOption,
    StepsOption,
)
from forecastcache.cli.outputs import require_folder
from forecastcache.zoo import usual_steps


def trace_command(
    model: ModelArgument,
    module: Annotated[
        str | None,
        typer.Option(help="whose outputs are traced: transformer_blocks.2.attn (the model's)"),
    ] = None,
    steps: StepsOption = None,
    seed: SeedOption = None,
    count: Annotated[int, typer.Option(min=1, max=MOST["samples"], help="samples")] = 4,
    classes: ClassesOption = None,
    prompts: PromptsOption = None,
    guidance_scale: GuidanceOption = None,
    device: DeviceOption = "cpu",
    dtype: DtypeOption = "float32",
    out: Annotated[Path, typer.Option(help="folder of pictures and data")] = Path(
        "forecastcache-trace"
    ),
    as_json: JsonOption = False,
) -> None:
    """Sample MODEL plainly and draw how its features move from step to step."""
    steps = steps or usual_steps(model)
    chosen_dtype = choose("dtype", dtype, DTYPES)
    trajectories, projections, data = paths = _paths(out, model, module)
    require_folder("--out", out, *(path.name for path in paths))
    fields = request_fields(steps, seed, count, classes, prompts, guidance_scale)
    # Imported here: diffusers and matplotlib take seconds that a refused option need not wait for.
    from forecastcache.evaluation.trace import trace_features
    from forecastcache.evaluation.trace_charts import save_trace

    pipe, (request,) = load_and_ask(model, device, chosen_dtype, [fields])
    seen = trace_features(pipe, request, module)
    save_trace(seen, trajectories, projections, model, steps, len(request), module)
    figures = {"model": model, "module": module, **seen.figures()}
    with atomic_write(data) as partial:
        partial.write_text(json.dumps(figures) + "\n")
    if as_json:
        print(json.dumps(figures, indent=2))
    else:
        print(trajectories, projections, data, sep="\n")


def _paths(out: Path, model: str, module: str | None) -> list[Path]:
    name = model.removeprefix(zoo.PREFIX).strip("/").replace("/", "-")
    stem = name if module is None else f"{name}-{module}"
    return [
        out / f"{stem}-{what}" for what in ("trajectories.png", "projections.png", "trace.json")
    ]
