"""forecastcache trace: how the features of a plain run move."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated

from forecastcache._util.atomic_write import atomic_write
from forecastcache.bounds import MOST
from forecastcache.cli.args import request_fields
from forecastcache.cli.asking import load_and_ask, show_sampling
from forecastcache.cli.options import (
    ClassesOption,
    DeviceOption,
    DtypeOption,
    GuidanceOption,
    JsonOption,
    ModelArgument,
    NegativePromptOption,
    PromptsOption,
    SecondGuidanceOption,
    SeedOption,
    StepsOption,
)
from forecastcache.cli.outputs import require_folder, stem_of
from forecastcache.cli.panels import how, output, what
from forecastcache.zoo import usual_steps

ModuleOption = Annotated[
    str | None,
    how(
        metavar="PATH",
        help="Module whose outputs are traced, such as transformer_blocks.2.attn. Left out, "
        "the model itself.",
    ),
]
TracedCountOption = Annotated[int, what(min=1, max=MOST["samples"], help="Number of samples.")]
TraceOutOption = Annotated[Path, output(metavar="FOLDER", help="Folder of pictures and data.")]


def trace_command(
    model: ModelArgument,
    module: ModuleOption = None,
    steps: StepsOption = None,
    seed: SeedOption = None,
    count: TracedCountOption = 4,
    classes: ClassesOption = None,
    prompts: PromptsOption = None,
    negative_prompt: NegativePromptOption = None,
    guidance_scale: GuidanceOption = None,
    guidance_scale_2: SecondGuidanceOption = None,
    device: DeviceOption = None,
    dtype: DtypeOption = None,
    out: TraceOutOption = Path("forecastcache-trace"),
    as_json: JsonOption = False,
) -> None:
    """Draw how the features of MODEL move from step to step of a plain run."""
    steps = steps or usual_steps(model)
    trajectories, projections, data = paths = _paths(out, model, module)
    require_folder("--out", out, *(path.name for path in paths))
    wanted = steps, seed, count, classes, prompts, guidance_scale, None
    fields = request_fields(*wanted, (negative_prompt, guidance_scale_2))
    # Imported here: diffusers and matplotlib take seconds that a refused option need not wait for.
    from forecastcache.evaluation.trace import trace_features
    from forecastcache.evaluation.trace_charts import save_trace

    pipe, (request,) = load_and_ask(model, device, dtype, [fields])
    show_sampling(pipe, as_json)
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
    name = stem_of(model)
    stem = name if module is None else f"{name}-{module}"
    return [
        out / f"{stem}-{what}" for what in ("trajectories.png", "projections.png", "trace.json")
    ]
