"""Options that commands have: their types and help."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from forecastcache.bounds import MOST
from forecastcache.granularity import FORMS

DTYPES = {"float32": "float32", "bfloat16": "bfloat16", "float16": "float16"}
DTYPES |= {"fp32": "float32", "bf16": "bfloat16", "fp16": "float16"}
THEME_NAMES = {"light": "light", "dark": "dark"}

Texts = list[str]  # of an option that may be repeated

ModelArgument = Annotated[str, typer.Argument(help="zoo:NAME, a pipeline's folder or a hub id")]
OrderOption = Annotated[int | None, typer.Option(help="of the predictor, as --set order=")]
SetOption = Annotated[
    Texts, typer.Option("--set", help="an option of the predictor: sigma=0.5; may be repeated")
]
SiteOption = Annotated[str, typer.Option(help=", ".join(FORMS))]
SiteOfRunOption = Annotated[
    str | None, typer.Option("--site", help=f"{', '.join(FORMS)} (output)")
]
DtypeOption = Annotated[str, typer.Option(help=", ".join(DTYPES))]
StepsOption = Annotated[
    int | None,
    typer.Option(
        min=1, max=MOST["steps"], help="of a trajectory (50, or what a zoo model was made for)"
    ),
]
SeedOption = Annotated[
    int | None, typer.Option(min=0, max=MOST["seed"], help="of the first picture (0)")
]
CalibrationSeedOption = Annotated[
    int | None,
    typer.Option("--seed", min=0, max=MOST["seed"], help="of the first picture (1000)"),
]
ClassesOption = Annotated[str | None, typer.Option(help="labels or numbers: 'red seven,12'")]
PromptsOption = Annotated[
    Path | None, typer.Option(help="file: a prompt a line, or .jsonl with seeds and more")
]
SizeOption = Annotated[str | None, typer.Option(help="height and width, such as 1024x768")]
GuidanceOption = Annotated[
    float | None,
    typer.Option("--guidance-scale", min=0, max=1000, help="of guidance (the pipeline's own)"),
]
DeviceOption = Annotated[str, typer.Option(help="cpu, cuda, cuda:1, mps, ...")]
JsonOption = Annotated[bool, typer.Option("--json", help="one JSON object")]
SampleCountOption = Annotated[
    int | None,
    typer.Option(min=1, max=MOST["samples"], help="samples (all of the file, else 10)"),
]
PromptCountOption = Annotated[
    int | None,
    typer.Option("--count", min=1, max=MOST["samples"], help="prompts (all of the file, else 50)"),
]
MeasuredCountOption = Annotated[
    int | None,
    typer.Option("--count", min=1, max=MOST["samples"], help="samples (all of the file, else 16)"),
]

PredictorOption = Annotated[
    str | None,
    typer.Option(
        help="a name, or name:option=value,...; see list (variable-order; taylor at other sites "
        "than output, and beside --interval, --first, --order or --set)"
    ),
]
ScheduleOption = Annotated[
    str | None,
    typer.Option(
        help="every:5,last=2, warped:9, or the computed steps themselves: 0,1,2,8,20,32,44 "
        "(a fifth of the steps, warped)"
    ),
]
IntervalOption = Annotated[
    int | None, typer.Option(help="between computed steps, by the rule of TaylorSeer's code (5)")
]
FirstOption = Annotated[int | None, typer.Option(help="leading computed steps of that rule (3)")]
ConfigOption = Annotated[
    Path | None, typer.Option(help="YAML: schedule, predictor, site and how features are kept")
]
CalibrationOption = Annotated[
    str | None, typer.Option(help="file, zoo:NAME or hub id: it gives schedule and predictor")
]
ComputedOption = Annotated[
    int | None,
    typer.Option(
        min=1,
        max=MOST["steps"],
        help="number of computed steps, by the calibration (a fifth), or learned now and kept",
    ),
]
SpeedupOption = Annotated[
    float | None, typer.Option(help="times fewer computed steps, likewise instead of --computed")
]
PsnrOption = Annotated[
    float | None, typer.Option(help="latent PSNR to the plain run, dB, instead of --computed")
]
RunOutOption = Annotated[Path, typer.Option(help="folder of the picture")]

PredictorsOption = Annotated[
    Texts, typer.Option("--predictor", help="such as taylor:order=1; may be repeated")
]
SchedulesOption = Annotated[
    Texts, typer.Option("--schedule", help="every:5 or 0,6,12; may be repeated")
]
IntervalsOption = Annotated[
    str | None, typer.Option("--interval", help="3..8 or 3,5,7: every:N each")
]
SitesOption = Annotated[
    str | None, typer.Option("--site", help="one or several: output,module (output)")
]
BaselinesOption = Annotated[
    Texts,
    typer.Option(
        "--baseline",
        help="steps:count=12,solver=unipc, taylorseer:interval=5, ...; may be repeated",
    ),
]
RowsOfOption = Annotated[
    str | None, typer.Option("--calibration", help="file, zoo:NAME or hub id")
]
CountsOption = Annotated[
    str | None, typer.Option("--computed", help="numbers of computed steps: 6..18 or 6,9")
]
SweepOption = Annotated[
    Path | None, typer.Option(help="YAML or JSON: predictors, schedules, sites, calibration, ...")
]
ThemeOption = Annotated[str, typer.Option(help=f"of pictures: {', '.join(THEME_NAMES)}")]
HtmlOption = Annotated[
    bool, typer.Option("--html", help="one page of all of it besides: report.html")
]
TableOutOption = Annotated[Path, typer.Option(help="folder of tables and pictures")]

CalibrationOutOption = Annotated[Path, typer.Option(help="the calibration file")]
TargetsOption = Annotated[
    Texts,
    typer.Option(
        "--schedule",
        help="fitted in closed loop: every:7, 0,6,12,18, search:9, or none; may be repeated; "
        "left out, searches of 4 to 18",
    ),
]
TriesOption = Annotated[
    int, typer.Option(min=1, max=MOST["tries"], help="schedules that a search looks at, at most")
]
EvaluationsOption = Annotated[
    int | None,
    typer.Option(
        "--evaluations",
        "--limit",
        min=1,
        max=MOST["evaluations"],
        help="most evaluations of the network, for one sample each; left out, as many as 120 "
        "plain runs take",
    ),
]
RefineOption = Annotated[bool, typer.Option(help="refine all rows of a schedule together")]
ElementsOption = Annotated[
    int,
    typer.Option(min=1, max=MOST["elements"], help="elements of each sample that are looked at"),
]
DryRunOption = Annotated[bool, typer.Option("--dry-run", help="say what it takes, and stop")]
MicroBatchOption = Annotated[
    int,
    typer.Option(min=1, max=MOST["samples"], help="samples that the network sees at once"),
]
GuidanceScalesOption = Annotated[
    list[float],
    typer.Option(
        "--guidance-scale", min=0, max=1000,
        help="of guidance (the pipeline's own); repeated, rows serve what lies between as well",
    ),
]  # fmt: skip
SizesOption = Annotated[
    Texts,
    typer.Option(
        "--size", help="height and width; repeated, rows serve what lies between as well"
    ),
]
