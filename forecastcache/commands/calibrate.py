"""forecastcache calibrate: learn of some fifty prompts what serves every speed."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated

import typer

from forecastcache.arguments import choose, require_writable
from forecastcache.commands.asking import load_and_ask, requests_fields
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
from forecastcache.console import print_calibration, progress
from forecastcache.errors import OptionError

COUNT = 50


def calibrate(
    model: Model,
    out: Annotated[Path, typer.Option(help="the calibration file")],
    prompts: Prompts = None,
    classes: Classes = None,
    count: Annotated[
        int | None, typer.Option(min=2, help=f"prompts (all of the file, else {COUNT})")
    ] = None,
    schedule: Annotated[
        list[str],
        typer.Option(
            help="fitted in closed loop: every:7, 0,6,12,18 or search:9; may be repeated"
        ),
    ] = [],  # noqa: B006  # typer copies it
    tries: Annotated[int, typer.Option(min=1, help="schedules that a search looks at")] = 60,
    limit: Annotated[
        int | None,
        typer.Option(min=1, help="most evaluations of the network, for one sample each"),
    ] = None,
    micro_batch: Annotated[int, typer.Option(min=1, help="samples that it sees at once")] = 8,
    steps: Steps = 50,
    seed: Seed = 1000,
    size: Annotated[
        list[str],
        typer.Option(help="height and width; repeated, rows serve what lies between as well"),
    ] = [],  # noqa: B006  # typer copies it
    guidance_scale: Guidance = None,
    device: Device = "cpu",
    dtype: Dtype = "float32",
    as_json: AsJson = False,
) -> None:
    """Record plain runs of MODEL and fit what any speed needs, into one small file."""
    from forecastcache.calibration.wanted import FEWEST, Cost, Wanted

    chosen_dtype = choose("dtype", dtype, DTYPES)
    wanted = [Wanted.parse(text, steps) for text in schedule]
    require_writable(out.parent)
    if out.is_dir():
        raise OptionError(f"--out {out} is a folder: give the name of a file in it")
    fields = requests_fields(steps, seed, count, classes, prompts, guidance_scale, size)
    counts = [it["count"] or len(it.get("prompts", ())) or COUNT for it in fields]
    if any(it < FEWEST for it in counts):
        raise OptionError(
            f"--prompts {prompts} has one prompt: give {FEWEST} at least, of each size"
        )
    cost = Cost.of(counts, steps, wanted, tries)
    if limit is not None and cost.total > limit:
        raise OptionError(
            f"this would take {cost.total:,} evaluations of the network, {cost.fit:,} of them to "
            f"fit: more than --limit {limit:,}; ask for fewer --schedule, --tries or --count"
        )
    from forecastcache.calibration.team import team

    with team() as crew:
        quiet = as_json or not crew.leads
        if not quiet:
            print(
                f"{sum(counts)} prompts: {cost.record:,} evaluations of the network to record"
                + (f", {cost.fit:,} at most to fit" if cost.fit else "")
            )
        # Imported here: diffusers takes seconds that a refused option need not wait for.
        from forecastcache.calibration.campaign import calibrate as campaign

        fields = [{**it, "count": each} for it, each in zip(fields, counts)]
        pipe, requests = load_and_ask(
            model, crew.device(device), chosen_dtype, fields, split="calibration"
        )
        pipe.set_progress_bar_config(disable=True)
        with progress(quiet) as tell:
            calibration = campaign(
                pipe, requests, out, wanted, micro_batch=micro_batch, tries=tries, tell=tell,
                team=crew,
            )  # fmt: skip
    if not crew.leads:
        return
    figures = {"model": model, "file": str(out), "evaluations": cost.total}
    figures |= calibration.figures()
    if as_json:
        print(json.dumps(figures, indent=2))
    else:
        print_calibration(figures)
        print(out)
