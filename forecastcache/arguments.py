"""What the command line is called with, as the objects it stands for."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from math import isfinite
from pathlib import Path
from typing import Any

from forecastcache.errors import OptionError, UnknownNameError
from forecastcache.predictor import Predictor
from forecastcache.schedule import Every, Listed, Schedule
from forecastcache.spec import assignment, build, once, parse
from forecastcache.step import Step


def choose(option: str, value: str, known: dict[str, Any]) -> Any:
    """What `value` stands for."""
    if value not in known:
        raise UnknownNameError(f"--{option} {value} is not known: write one of {', '.join(known)}")
    return known[value]


def predictor_from(spec: str, order: int | None, settings: Sequence[str]) -> Predictor:
    """The predictor of `spec`, a name alone or with options, and of options set beside it."""
    shorthand = [] if order is None else [("order", order)]
    options = once([*map(assignment, settings), *shorthand])
    if ":" not in spec:
        return build(spec, options)
    if options:
        raise OptionError(f"{spec} sets its options itself: leave out --order and --set")
    return parse(spec)


def steps_from(option: str, text: str) -> list[int]:
    """Step indices listed with commas."""
    try:
        return [int(part) for part in text.split(",")]
    except ValueError:
        raise OptionError(
            f"{option} {text} is no list of steps: write such as 0,1,2,8,20"
        ) from None


def with_times(indices: Sequence[int], times: str | None) -> list[Step]:
    """The steps of these indices, at the times listed with commas if any are."""
    if times is None:
        return [Step(index, float("nan")) for index in indices]
    try:
        listed = [float(part) for part in times.split(",")]
    except ValueError:
        listed = []
    if len(listed) != len(indices) or not all(map(isfinite, listed)):
        raise OptionError(
            f"--times {times} is no list of {len(indices)} finite numbers: give one for each "
            "computed step and one for the target"
        )
    return [Step(index, time) for index, time in zip(indices, listed)]


def schedule_from(listed: str | None, interval: int | None, first: int | None) -> Schedule:
    """The schedule of `--schedule`, else of `--interval` and `--first`."""
    if listed is None:
        return Every(
            interval=5 if interval is None else interval, first=3 if first is None else first
        )
    if interval is not None or first is not None:
        raise OptionError("--schedule lists the computed steps: leave out --interval and --first")
    return Listed(steps_from("--schedule", listed))


@dataclass(frozen=True)
class Prompt:
    """A line of a prompts file.

    Attributes:
        text: of the prompt.
        seed: of its picture; None for the next one.
        call: further arguments of the pipeline's call.
    """

    text: str
    seed: int | None = None
    call: Mapping[str, Any] = field(default_factory=dict)


def read_prompts(path: Path) -> list[Prompt]:
    """The lines of a file that are not empty; of a .jsonl file, an object each.

    {"prompt": "a red seven", "seed": 3, "height": 48, "width": 48}
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


def require_writable(out: Path) -> None:
    """Refuse a folder in which nothing can be written."""
    try:
        nearest = next(place for place in (out, *out.absolute().parents) if place.exists())
    except OSError as error:
        raise OptionError(f"--out cannot be used ({error.strerror}): give a folder") from None
    if not nearest.is_dir() or not os.access(nearest, os.W_OK):
        raise OptionError(f"--out {out} cannot be written, because of {nearest}: give a folder")
