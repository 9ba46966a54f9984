"""Options that commands share: which steps are computed, and how the others are forecast."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

from forecastcache.bounds import MOST
from forecastcache.cli import completion
from forecastcache.cli.options import Texts
from forecastcache.cli.panels import how
from forecastcache.granularity import FORMS

SITES = f"What is forecast: {', '.join(FORMS)}."

PredictorOption = Annotated[
    str | None,
    how(
        metavar="SPEC",
        help="Predictor of the steps that are not computed: a name, or name:option=value,... "
        "`forecastcache list` shows all. Left out, variable-order; taylor at sites other than "
        "output and beside --interval, --first, --order or --set.",
        autocompletion=completion.predictors,
    ),
]
OrderOption = Annotated[int | None, how(help="Order of the predictor, the same as --set order=N.")]
SetOption = Annotated[
    Texts,
    how(
        "--set",
        metavar="OPTION=VALUE",
        help="An option of the predictor, such as sigma=0.5. May be repeated.",
    ),
]
ScheduleOption = Annotated[
    str | None,
    how(
        metavar="SPEC",
        help="Which steps are computed: every:5,last=2, warped:9, or the steps themselves, "
        "0,1,2,8,20,32,44. Left out, a fifth of the steps, warped.",
        autocompletion=completion.schedules,
    ),
]
IntervalOption = Annotated[
    int | None,
    how(help="Distance between computed steps, by the rule of TaylorSeer's code. Left out, 5."),
]
FirstOption = Annotated[
    int | None,
    how(help="Number of leading steps that this rule computes. Left out, 3."),
]
SiteOption = Annotated[str, how(metavar="SITE", help=SITES, autocompletion=completion.sites)]
SiteOfRunOption = Annotated[
    str | None,
    how(
        "--site", metavar="SITE", help=f"{SITES} Left out, output.",
        autocompletion=completion.sites,
    ),
]  # fmt: skip
ConfigOption = Annotated[
    Path | None,
    how(
        metavar="FILE",
        help="A YAML file with schedule, predictor, site and how features are kept, instead of "
        "the options that say so.",
    ),
]
CalibrationOption = Annotated[
    str | None,
    how(
        metavar="FILE",
        help="What `forecastcache calibrate` has learned: a file, zoo:NAME or a hub id. It gives "
        "schedule and predictor.",
        autocompletion=completion.models,
    ),
]
SpeedupOption = Annotated[
    float | None, how(help="Compute so many times fewer steps; an alternative to --computed.")
]
ComputedOption = Annotated[
    int | None,
    how(
        min=1, max=MOST["steps"],
        help="Number of steps to compute, with schedule and predictor from --calibration, or "
        "learned now and kept. Left out beside --calibration, a fifth.",
    ),
]  # fmt: skip
PsnrOption = Annotated[
    float | None,
    how(
        metavar="DB",
        help="Compute as few steps as reach this latent PSNR to the plain run, in dB; an "
        "alternative to --computed.",
    ),
]

PredictorsOption = Annotated[
    Texts,
    how(
        "--predictor",
        metavar="SPEC",
        help="A predictor to compare, such as taylor:order=1. May be repeated.",
        autocompletion=completion.predictors,
    ),
]
SchedulesOption = Annotated[
    Texts,
    how(
        "--schedule",
        metavar="SPEC",
        help="A schedule to compare, such as every:5 or 0,6,12. May be repeated.",
        autocompletion=completion.schedules,
    ),
]
IntervalsOption = Annotated[
    str | None,
    how("--interval", metavar="LIST", help="Several schedules every:N at once: 3..8 or 3,5,7."),
]
SitesOption = Annotated[
    str | None,
    how(
        "--site",
        metavar="LIST",
        help="One or several sites: output,module. Left out, output.",
        autocompletion=completion.sites,
    ),
]
BaselinesOption = Annotated[
    Texts,
    how(
        "--baseline",
        metavar="SPEC",
        help="Another method to compare with, such as steps:count=12,solver=unipc or "
        "taylorseer:interval=5. May be repeated.",
        autocompletion=completion.baselines,
    ),
]
RowsOfOption = Annotated[
    str | None,
    how(
        "--calibration",
        metavar="FILE",
        help="A calibration to compare at each number of --computed: a file, zoo:NAME or a hub "
        "id.",
        autocompletion=completion.models,
    ),
]
CountsOption = Annotated[
    str | None,
    how(
        "--computed",
        metavar="LIST",
        help="Numbers of steps that the calibration computes: 6..18 or 6,9.",
    ),
]
SweepOption = Annotated[
    Path | None,
    how(
        metavar="FILE",
        help="A YAML or JSON file that says what to compare, instead of the options above: "
        "predictors, schedules, sites, calibration, counts, configs, baselines.",
    ),
]

TargetsOption = Annotated[
    Texts,
    how(
        "--schedule",
        metavar="SPEC",
        help="A schedule to fit in closed loop: every:7, 0,6,12,18, search:9 for the best nine "
        "steps, or none. May be repeated. Left out, searches of 4 to 18.",
        autocompletion=completion.schedules,
    ),
]
TriesOption = Annotated[
    int, how(min=1, max=MOST["tries"], help="Most schedules that one search looks at.")
]
EvaluationsOption = Annotated[
    int | None,
    how(
        "--evaluations", "--limit", min=1, max=MOST["evaluations"],
        help="Most evaluations of the network, counted by step and sample. Left out, as many as "
        "120 plain runs take.",
    ),
]  # fmt: skip
RefineOption = Annotated[
    bool, how(help="Refine all rows of a schedule together, which is slower and nearer.")
]
ElementsOption = Annotated[
    int,
    how(min=1, max=MOST["elements"], help="Number of elements of each sample that are looked at."),
]
MicroBatchOption = Annotated[
    int,
    how(min=1, max=MOST["samples"], help="Number of samples that the network sees at once."),
]
DryRunOption = Annotated[
    bool, how("--dry-run", help="Say how many evaluations and seconds it will take, and stop.")
]
