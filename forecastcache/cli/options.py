"""Options that commands share: what is sampled, on what device, and what is written."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

from forecastcache.bounds import MOST
from forecastcache.cli import completion
from forecastcache.cli.args import choose
from forecastcache.cli.panels import argument, how, output, what

AUTO = "auto"
DTYPES = {"float32": "float32", "bfloat16": "bfloat16", "float16": "float16"}
DTYPES |= {"fp32": "float32", "bf16": "bfloat16", "fp16": "float16"}
THEME_NAMES = {"light": "light", "dark": "dark"}

Texts = list[str]  # of an option that may be repeated


def _known_dtype(text: str | None) -> str | None:
    """The dtype that a text names; refuses others before any command begins."""
    return None if text is None else str(choose("dtype", text, {AUTO: AUTO, **DTYPES}))


ModelArgument = Annotated[
    str,
    argument(
        help="The pipeline: zoo:NAME for a small one that ships, a folder, or a hub id "
        "(owner/name).",
        autocompletion=completion.models,
    ),
]
StepsOption = Annotated[
    int | None,
    what(
        min=1, max=MOST["steps"],
        help="Number of denoising steps. Left out, 50, or what a zoo model was made for.",
    ),
]  # fmt: skip
SeedOption = Annotated[
    int | None,
    what(
        min=0, max=MOST["seed"],
        help="Seed of the first sample; the next has the next. Left out, 0.",
    ),
]  # fmt: skip
CalibrationSeedOption = Annotated[
    int | None,
    what(
        "--seed", min=0, max=MOST["seed"],
        help="Seed of the first sample; the next has the next. Left out, 1000, so that nothing "
        "is learned from the pictures that run and evaluate show.",
    ),
]  # fmt: skip
ClassesOption = Annotated[
    str | None,
    what(
        metavar="LIST",
        help="Classes of a class-conditional model, by label or number: 'red seven,12'.",
    ),
]
PromptsOption = Annotated[
    Path | None,
    what(
        metavar="FILE",
        help="Prompts, one a line; or a .jsonl file whose lines may also set seed, height, width "
        "and other arguments of the pipeline's call.",
    ),
]
NegativePromptOption = Annotated[
    str | None,
    what(metavar="TEXT", help="What guidance leads away from, the same for every prompt."),
]
SizeOption = Annotated[
    str | None,
    what(
        metavar="HxW", help="Height and width in pixels: 1024x768. Left out, the pipeline's own."
    ),
]
GuidanceOption = Annotated[
    float | None,
    what(
        "--guidance-scale", min=0, max=1000,
        help="Guidance scale. Left out, the pipeline's own.",
    ),
]  # fmt: skip
SecondGuidanceOption = Annotated[
    float | None,
    what(
        "--guidance-scale-2", min=0, max=1000,
        help="Guidance scale of the second model, where a pipeline has two (Wan 2.2). Left out, "
        "that of the first.",
    ),
]  # fmt: skip
SampleCountOption = Annotated[
    int | None,
    what(
        min=1, max=MOST["samples"],
        help="Number of samples. Left out, one for each prompt of the file or class, else 10.",
    ),
]  # fmt: skip
PromptCountOption = Annotated[
    int | None,
    what(
        "--count", min=1, max=MOST["samples"],
        help="Number of samples to learn from. Left out, all prompts of the file, else 8.",
    ),
]  # fmt: skip
MeasuredCountOption = Annotated[
    int | None,
    what(
        "--count", min=1, max=MOST["samples"],
        help="Number of samples. Left out, all prompts of the file, else 16.",
    ),
]  # fmt: skip
GuidanceScalesOption = Annotated[
    list[float],
    what(
        "--guidance-scale", min=0, max=1000,
        help="Guidance scale. Left out, the pipeline's own. Repeated, what is learned also serves "
        "the scales in between.",
    ),
]  # fmt: skip
SizesOption = Annotated[
    Texts,
    what(
        "--size",
        metavar="HxW",
        help="Height and width in pixels: 1024x768. Repeated, what is learned also serves the "
        "sizes in between.",
    ),
]

DeviceOption = Annotated[
    str | None,
    how(
        metavar="NAME",
        help="Where to run: cpu, cuda, cuda:1, mps, or auto, which takes CUDA, else MPS, else the "
        "CPU. Left out, auto; cpu for zoo models.",
        autocompletion=completion.devices,
    ),
]
DtypeOption = Annotated[
    str | None,
    how(
        metavar="NAME",
        help="Type of the weights: float32, bfloat16, float16, or auto, which takes bfloat16 on "
        "CUDA and float32 elsewhere. Left out, auto; float32 for zoo models.",
        autocompletion=lambda: [AUTO, *DTYPES],
        callback=_known_dtype,
    ),
]

JsonOption = Annotated[
    bool, output("--json", help="Print one JSON object instead of tables and lines.")
]
RunOutOption = Annotated[
    Path, output(metavar="FOLDER", help="Folder of the picture that shows the samples.")
]
SaveImagesOption = Annotated[
    Path | None,
    output(
        "--save-images",
        metavar="FOLDER",
        help="Also save every sample by itself, plain and forecast, as PNG (videos as GIF).",
    ),
]
ThemeOption = Annotated[
    str, output(metavar="THEME", help=f"Colours of pictures: {', '.join(THEME_NAMES)}.")
]
HtmlOption = Annotated[
    bool, output("--html", help="Also write all of it as one page, report.html.")
]
TableOutOption = Annotated[Path, output(metavar="FOLDER", help="Folder of tables and pictures.")]
CalibrationOutOption = Annotated[
    Path, output(metavar="FILE", help="The calibration file to write.")
]
MetricsOption = Annotated[
    Texts,
    output(
        "--metrics",
        metavar="NAMES",
        help="Further metrics, a column each: lpips, or clip=FOLDER with the folder of its "
        "weights. Several are parted by commas; may be repeated.",
        autocompletion=completion.metrics,
    ),
]
