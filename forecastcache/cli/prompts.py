"""Prompts files: a prompt a line, or a JSON object a line."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from forecastcache.errors import OptionError, UnknownNameError


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
    """The lines of a file that are not empty; of a .jsonl file, an object each.

    {"prompt": "a red seven", "seed": 3, "height": 48, "width": 48}

    Raises:
        UnknownNameError: there is no such file.
        OptionError: the file is no text, or a line of it is no prompt.
    """
    if not path.is_file():
        raise UnknownNameError(f"--prompts {path} is no file: give a text file, a prompt a line")
    try:
        text = path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError):
        raise OptionError(f"--prompts {path} is no text: give a text file in UTF-8") from None
    lines = {number: line.strip() for number, line in enumerate(text.splitlines(), 1)}
    kept = {number: line for number, line in lines.items() if line}
    if path.suffix == ".jsonl":
        prompts = [_object(path, number, line) for number, line in kept.items()]
    else:
        prompts = [Prompt(line) for line in kept.values()]
    if not prompts:
        raise OptionError(f"--prompts {path} is empty: write a prompt a line")
    if len({prompt.seed is None for prompt in prompts}) > 1:
        raise OptionError(f"--prompts {path} gives a seed to some lines: give one to all, or none")
    return prompts


def _object(path: Path, number: int, line: str) -> Prompt:
    try:
        said = json.loads(line)
    except json.JSONDecodeError:
        said = None
    example = '{"prompt": "a red seven", "seed": 3}'
    if not isinstance(said, dict) or not isinstance(said.get("prompt"), str):
        raise OptionError(f"--prompts {path}, line {number}: write an object such as {example}")
    seed = said.pop("seed", None)
    if not (seed is None or (type(seed) is int and seed >= 0)):
        raise OptionError(f"--prompts {path}, line {number}: a seed is a number such as 3")
    return Prompt(said.pop("prompt"), seed, said)
