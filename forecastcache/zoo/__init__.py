"""Small trained pipelines that ship with the package, and the recipes that made them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from importlib import import_module
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING, Any

from forecastcache._moved import name_new_places
from forecastcache.errors import UnknownNameError

if TYPE_CHECKING:
    from forecastcache.zoo.wording import Wording

name_new_places(__name__)

PREFIX = "zoo:"
STEPS = 50  # of a trajectory, where nothing else is known


@dataclass(frozen=True)
class ZooEntry:
    """A model of the zoo.

    Attributes:
        about: description in one line.
        call: arguments of its pipeline's call beside the prompt or class: sizes and lengths that
            it was trained at, steps, and guidance.
        words: whether it is asked in words.
        moving: whether it makes videos.
        wording: place of the function that returns its `Wording`, below `forecastcache.zoo`.
        weights: name of the model whose weights it has, called otherwise; empty for its own.
    """

    about: str
    call: Mapping[str, Any] = field(default_factory=dict)
    words: bool = True
    moving: bool = False
    wording: str = "captions:wording"
    weights: str = ""


USUAL = {"height": 32, "width": 32, "num_inference_steps": STEPS}
EMOJI = {**USUAL, "height": 64, "width": 64, "max_sequence_length": 12}
ENTRIES: dict[str, ZooEntry] = {
    "dit-digits": ZooEntry(
        "DiTPipeline, 60 classes: handwritten digits in six inks, 32x32",
        {"guidance_scale": 2.0},  # at the default of 4 its trajectories are stiff
        words=False,
    ),
    "flux-digits": ZooEntry(
        "FluxPipeline, text to image: handwritten digits in colours, 32x32",
        {**USUAL, "max_sequence_length": 12, "guidance_scale": 2.5},
    ),
    "qwen-digits": ZooEntry(
        "QwenImagePipeline, text to image with true guidance: handwritten digits, 32x32",
        {**USUAL, "negative_prompt": " ", "true_cfg_scale": 2.5},
    ),
    "hunyuan-digits": ZooEntry(
        "HunyuanVideoPipeline, text to video: handwritten digits in motion, 9 frames of 32x32",
        {**USUAL, "num_frames": 9, "max_sequence_length": 16, "guidance_scale": 2.5},
        moving=True,
    ),
    "qwen-lightning": ZooEntry(
        "QwenImagePipeline in 8 steps of one call each, distilled from zoo:qwen-digits",
        {**USUAL, "num_inference_steps": 8, "true_cfg_scale": 1.0},
    ),
    "wan-digits": ZooEntry(
        "WanPipeline, two networks that take turns, UniPC, text to video: handwritten digits in "
        "motion, 9 frames of 32x32",
        {
            **USUAL,
            "num_frames": 9,
            "max_sequence_length": 16,
            "negative_prompt": "",
            "guidance_scale": 3.0,
            "guidance_scale_2": 2.5,
        },
        moving=True,
    ),
    "flux-emoji": ZooEntry(
        "FluxPipeline, text to image: emoji on coloured backgrounds, 64x64",
        {**EMOJI, "guidance_scale": 5.0},
        wording="emoji.captions:emoji_wording",
    ),
    "flux-emoji-true": ZooEntry(
        "zoo:flux-emoji with true guidance, in two calls a step",
        {**EMOJI, "guidance_scale": 1.0, "negative_prompt": "", "true_cfg_scale": 5.0},
        wording="emoji.captions:emoji_wording",
        weights="flux-emoji",
    ),
}
RECIPES = {name: it for name, it in ENTRIES.items() if not it.weights}  # what can be made
MODELS = {  # what comes with this installation
    name: it
    for name, it in ENTRIES.items()
    if (Path(__file__).parent / (it.weights or name) / "model_index.json").is_file()
}


def folder(name: str) -> Path:
    """The folder of a zoo model, loadable with `DiffusionPipeline.from_pretrained`.

    Args:
        name: the model's name, with or without `zoo:` before it.

    Raises:
        UnknownNameError: listing the models there are, or saying how to make this one.
    """
    path = place(name)
    if not made(name):
        raise UnknownNameError(
            f"zoo:{path.name} does not come with this installation: make it with "
            f"python -m forecastcache.zoo.train {path.name}"
        )
    return path


def made(name: str) -> bool:
    """Whether a zoo model is there to be loaded, or only its recipe.

    Raises:
        UnknownNameError: listing the models there are.
    """
    return (place(name) / "model_index.json").is_file()


def place(name: str) -> Path:
    """Where a zoo model lies, or will once it is made.

    Raises:
        UnknownNameError: listing the models there are.
    """
    return Path(__file__).parent / _weights(name)


def calibration(name: str) -> Path:
    """Where the calibration of a zoo model lies, if it has one.

    Raises:
        UnknownNameError: listing the models there are.
    """
    return Path(__file__).parent / "calibrations" / f"{_known(name)}.safetensors"


def calibrated(steps: int = STEPS) -> list[str]:
    """The names of the models that come with a calibration, without `zoo:` before them.

    Args:
        steps: number of steps of the trajectories that it is for.
    """
    of_steps = [name for name in MODELS if usual_steps(PREFIX + name) == steps]
    return [name for name in of_steps if calibration(name).is_file()]


def entry(name: str) -> ZooEntry:
    """What is known of a zoo model.

    Raises:
        UnknownNameError: listing the models there are.
    """
    return ENTRIES[_known(name)]


def usual_steps(model: str) -> int:
    """The number of steps that a model is called with: what a zoo model was made for, or 50.

    Args:
        model: zoo name, folder or hub id.

    Raises:
        UnknownNameError: the zoo has no such model.
    """
    if not model.startswith(PREFIX):
        return STEPS
    steps: int = entry(model).call.get("num_inference_steps", STEPS)
    return steps


def words_of(name: str) -> Wording:
    """How a zoo model is asked in words.

    Raises:
        UnknownNameError: listing the models there are.
    """
    known = entry(name)
    module, _, function = known.wording.partition(":")
    found: Wording = getattr(import_module(f"forecastcache.zoo.{module}"), function)(known.moving)
    return found


def recipe(name: str) -> ModuleType:
    """The module that describes how a zoo model is made.

    It has `pipeline()`, which builds the pipeline untrained; `stages(pipe, seed)`, which yields
    the stages of its training, each to be done before the next is asked for; `reader()`, the
    judge of its samples; `asked(conditions)`, what the judge must read on samples; `real()`,
    pictures or clips that it was not trained on, or None where the judge knows some.

    Raises:
        UnknownNameError: listing the models there are.
    """
    return import_module(f"forecastcache.zoo.{_weights(name).replace('-', '_')}")


def _known(name: str) -> str:
    bare = name.removeprefix(PREFIX)
    if bare not in ENTRIES:
        known = ", ".join(PREFIX + model for model in MODELS)
        raise UnknownNameError(f"the zoo has no model {bare!r}: write one of {known}")
    return bare


def _weights(name: str) -> str:
    return entry(name).weights or _known(name)
