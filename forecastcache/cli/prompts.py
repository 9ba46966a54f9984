"""Prompts files: a prompt a line, or a JSON object a line."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from json import JSONDecodeError
from pathlib import Path
from typing import Any

from forecastcache._util.strict_json import strict_json
from forecastcache.bounds import MOST, require_at_most, shortened
from forecastcache.errors import OptionError, UnknownNameError

# Arguments of a pipeline's call that a line may not set, and what says the same for all lines.
SAID_ELSEWHERE = {
    "num_inference_steps": "--steps",
    "timesteps": "--steps",
    "sigmas": "--steps",
    "class_labels": "--classes",
    "num_images_per_prompt": "--count",
    "num_videos_per_prompt": "--count",
    "batch_size": "--count",
    "generator": 'the key "seed"',
    "output_type": "the command itself",
    "return_dict": "the command itself",
}
# Options that stand for all lines, and the keys of a line that say the same.
OPTIONS = {
    "--size": {"height", "width"},
    "--seed": {"seed"},
    "--guidance-scale": {"guidance_scale", "true_cfg_scale"},
    "--guidance-scale-2": {"guidance_scale_2"},
    "--negative-prompt": {"negative_prompt"},
}
# Arguments that are whole numbers from 1 on, and their bounds.
SIZES = {
    "height": "pixels",
    "width": "pixels",
    "num_frames": "frames",
    "max_sequence_length": "text tokens",
}


@dataclass(frozen=True)
class Prompt:
    """A line of a prompts file.

    Attributes:
        text: text of the prompt.
        seed: seed of its sample; None for the next one.
        call: further arguments of the pipeline's call.
    """

    text: str
    seed: int | None = None
    call: Mapping[str, Any] = field(default_factory=dict)


def read_prompts(path: Path) -> list[Prompt]:
    """The lines of a file or a pipe that are not empty; of a .jsonl file, an object each.

    {"prompt": "a red seven", "seed": 3, "height": 48, "width": 48}

    Raises:
        UnknownNameError: there is no such file.
        OptionError: the file is no text, or a line of it is no prompt.
    """
    # Only these end a line: `splitlines` takes U+2028 for an end, which JSON allows in a string.
    lines = re.split(r"\r\n|\r|\n", _text(path))
    kept = {number: line.strip() for number, line in enumerate(lines, 1) if line.strip()}
    require_at_most("samples", len(kept), f"--prompts {path}")
    prompts = []
    for number, line in kept.items():
        where = f"--prompts {path}, line {number}"
        prompt = _object(where, line) if path.suffix == ".jsonl" else Prompt(line)
        require_at_most("letters of a prompt", len(prompt.text), where)
        prompts.append(prompt)
    if not prompts:
        raise OptionError(f"--prompts {path} is empty: write a prompt a line")
    if len({prompt.seed is None for prompt in prompts}) > 1:
        raise OptionError(f"--prompts {path} gives a seed to some lines: give one to all, or none")
    return prompts


def require_said_once(prompts: Sequence[Prompt], options: Mapping[str, Any]) -> None:
    """Refuse options that lines of the prompts file set too.

    Args:
        prompts: lines of the file.
        options: what each option of `OPTIONS` was given; None or empty where it was not.

    Raises:
        OptionError: naming the option and the key of the line.
    """
    for option, given in options.items():
        if given is None or given == []:
            continue
        for prompt in prompts:
            keys = {*prompt.call, *(["seed"] if prompt.seed is not None else [])}
            for key in sorted(keys & OPTIONS[option]):
                raise OptionError(
                    f"{option} is given, and the prompt {shortened(prompt.text, 60)!r} sets "
                    f"{key}: leave one out"
                )


def _text(path: Path) -> str:
    most = MOST["bytes of a prompts file"]
    try:
        if not path.exists() or path.is_dir():
            raise UnknownNameError(
                f"--prompts {path} is no file: give a text file, a prompt a line"
            )
        with path.open("rb") as file:
            data = file.read(most + 1)
    except OSError as error:
        raise OptionError(
            f"--prompts {path} cannot be read ({error.strerror}): give a text file"
        ) from None
    if len(data) > most:
        raise OptionError(f"--prompts {path} is longer than {most:,} bytes: give it in parts")
    try:
        return data.decode("utf-8-sig")  # editors on Windows begin a file with a mark
    except UnicodeDecodeError:
        raise OptionError(f"--prompts {path} is no text: give a text file in UTF-8") from None


def _object(where: str, line: str) -> Prompt:
    example = 'write an object such as {"prompt": "a red seven", "seed": 3}'
    try:
        said = strict_json(line)
    except JSONDecodeError:
        said = None
    except ValueError as error:
        raise OptionError(f"{where}: {error}") from None
    if not isinstance(said, dict) or not isinstance(said.get("prompt"), str):
        raise OptionError(f"{where}: {example}")
    seed = said.pop("seed", None)
    if not (seed is None or (type(seed) is int and 0 <= seed <= MOST["seed"])):
        raise OptionError(
            f"{where}: a seed is a number such as 3, from 0 to {MOST['seed']}: write one"
        )
    prompt = Prompt(said.pop("prompt"), seed, said)
    for name, value in said.items():
        _require_argument(where, name, value)
    return prompt


def _require_argument(where: str, name: str, value: Any) -> None:
    """Refuse an argument that another option sets, or that the pipeline cannot be given so."""
    if name in SAID_ELSEWHERE:
        raise OptionError(
            f"{where}: it sets {name}, which is said by {SAID_ELSEWHERE[name]}: leave it out here"
        )
    if name in SIZES and not (type(value) is int and 1 <= value <= MOST[SIZES[name]]):
        raise OptionError(
            f"{where}: {name} is {value!r}: write a number from 1 to {MOST[SIZES[name]]}"
        )
    if isinstance(value, str):
        require_at_most("letters of a prompt", len(value), f"{where}: {name}")
    if isinstance(value, (list, dict)):
        raise OptionError(f"{where}: {name} is a list or an object: write one number or one text")
