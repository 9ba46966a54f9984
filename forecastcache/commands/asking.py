"""A pipeline and what it is asked for, from the options that say so."""

from __future__ import annotations

import sys
import warnings
from pathlib import Path
from typing import TYPE_CHECKING, Any

from forecastcache.arguments import read_prompts
from forecastcache.commands.hush import hush

if TYPE_CHECKING:
    from forecastcache.sampling import Request


def request_fields(
    steps: int,
    seed: int,
    count: int | None,
    classes: str | None,
    prompts: Path | None,
    guidance_scale: float | None,
) -> dict[str, Any]:
    """The fields of a `Request`, of options of the same names."""
    return {
        "steps": steps,
        "seed": seed,
        "count": count,
        "classes": [name.strip() for name in classes.split(",")] if classes else (),
        "prompts": read_prompts(prompts) if prompts else (),
        "guidance_scale": guidance_scale,
    }


def load_and_ask(
    model: str, device: str, dtype: str, fields: dict[str, Any], **split: Any
) -> tuple[Any, Request]:
    """The pipeline and the request; a warning about what is asked gets one line."""
    # Imported here: diffusers takes seconds that a refused option need not wait for.
    import torch

    from forecastcache.sampling import Request, load

    hush()
    with warnings.catch_warnings():
        warnings.simplefilter("always")
        warnings.showwarning = _warn
        request = Request.of(model, **split, **fields)
    return load(model, device, getattr(torch, dtype)), request


def _warn(message: Warning | str, *_: object, **__: object) -> None:
    print("forecastcache: " + " ".join(str(message).split()), file=sys.stderr)
