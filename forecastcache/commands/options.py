"""Options that several commands have."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from forecastcache.adapter import GRANULARITIES

DTYPES = {"float32": "float32", "bfloat16": "bfloat16", "float16": "float16"}
DTYPES |= {"fp32": "float32", "bf16": "bfloat16", "fp16": "float16"}

Model = Annotated[str, typer.Argument(help="zoo:NAME, a pipeline's folder or a hub id")]
Order = Annotated[int | None, typer.Option(help="of the predictor, as --set order=")]
Settings = Annotated[
    list[str], typer.Option("--set", help="an option of the predictor: sigma=0.5")
]
Site = Annotated[str, typer.Option(help=", ".join(GRANULARITIES))]
Dtype = Annotated[str, typer.Option(help=", ".join(DTYPES))]
Steps = Annotated[int, typer.Option(min=1, help="of a trajectory")]
Seed = Annotated[int, typer.Option(min=0, max=2**62, help="of the first picture")]
Classes = Annotated[str | None, typer.Option(help="labels or numbers: 'red seven,12'")]
Prompts = Annotated[
    Path | None, typer.Option(help="file: a prompt a line, or .jsonl with seeds and more")
]
Size = Annotated[str | None, typer.Option(help="height and width, such as 1024x768")]
Guidance = Annotated[
    float | None,
    typer.Option("--guidance-scale", min=0, max=1000, help="of guidance (the pipeline's own)"),
]
Device = Annotated[str, typer.Option(help="cpu, cuda, cuda:1, mps, ...")]
AsJson = Annotated[bool, typer.Option("--json", help="one JSON object")]
