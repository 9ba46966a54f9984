"""A pipeline and what it is asked for, from the options that say so."""

from __future__ import annotations

import sys
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from forecastcache.arguments import Prompt, read_prompts
from forecastcache.commands.hush import hush
from forecastcache.errors import OptionError

if TYPE_CHECKING:
    from forecastcache.sampling import Request


def requests_fields(
    steps: int,
    seed: int,
    count: int | None,
    classes: str | None,
    prompts: Path | None,
    guidance_scale: float | None,
    sizes: Sequence[str] = (),
) -> list[dict[str, Any]]:
    """The fields of a `Request`, of options of the same names, for each size asked for.

    Prompts that are to be called alike go into one request.
    """
    common: dict[str, Any] = {
        "steps": steps,
        "seed": seed,
        "count": count,
        "classes": [name.strip() for name in classes.split(",")] if classes else (),
        "guidance_scale": guidance_scale,
    }
    calls = [_size(text) for text in sizes] or [{}]
    return [
        {**common, **asked, "call": {**asked["call"], **call}}
        for asked in (_alike(read_prompts(prompts)) if prompts else [{"call": {}}])
        for call in calls
    ]


def request_fields(
    steps: int,
    seed: int,
    count: int | None,
    classes: str | None,
    prompts: Path | None,
    guidance_scale: float | None,
    size: str | None = None,
) -> dict[str, Any]:
    """Likewise, where all prompts are to be called alike."""
    sizes = [size] if size else []
    fields, *others = requests_fields(steps, seed, count, classes, prompts, guidance_scale, sizes)
    if others:
        raise OptionError(
            f"--prompts {prompts} asks for {1 + len(others)} kinds of call, and one can be had "
            "here: give every line the same arguments"
        )
    return fields


def _alike(prompts: Sequence[Prompt]) -> list[dict[str, Any]]:
    groups: dict[str, list[Prompt]] = {}
    for prompt in prompts:
        groups.setdefault(repr(sorted(prompt.call.items())), []).append(prompt)
    return [
        {
            "prompts": tuple(prompt.text for prompt in group),
            "seeds": tuple(prompt.seed for prompt in group if prompt.seed is not None),
            "call": group[0].call,
        }
        for group in groups.values()
    ]


def _size(text: str) -> dict[str, int]:
    height, cross, width = text.partition("x")
    if not (cross and height.isdecimal() and width.isdecimal() and int(height) and int(width)):
        raise OptionError(f"--size {text} is no size: write height and width such as 1024x768")
    return {"height": int(height), "width": int(width)}


def load_and_ask(
    model: str, device: str, dtype: str, fields: Sequence[dict[str, Any]], **split: Any
) -> tuple[Any, list[Request]]:
    """The pipeline and its requests; a warning about what is asked gets one line."""
    # Imported here: diffusers takes seconds that a refused option need not wait for.
    import torch

    from forecastcache.sampling import Request, load

    hush()
    with plainly_warned():
        requests = [Request.of(model, **split, **each) for each in fields]
    return load(model, device, getattr(torch, dtype)), requests


@contextmanager
def plainly_warned() -> Iterator[None]:
    """Says at the end what was warned of: a line each, without the place in the code."""
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("default")
        for kind in (DeprecationWarning, PendingDeprecationWarning, FutureWarning):
            warnings.simplefilter("ignore", kind)  # for the authors of what is below us
        yield
    for text in dict.fromkeys(" ".join(str(warning.message).split()) for warning in caught):
        print(f"forecastcache: {text}", file=sys.stderr)
