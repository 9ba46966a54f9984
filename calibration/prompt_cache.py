"""Prompt cache: prompts encoded once, however often they are sampled."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch

from forecastcache._util.swap import swapped


@contextmanager
def prompts_encoded_once(pipe: Any) -> Iterator[None]:
    """Have `pipe` encode a prompt only the first time it is given; nothing is left after.

    A calibration rolls the same prompts hundreds of times, of which each computes few steps: text
    encoders would take longer than the network.
    """
    encode = getattr(pipe, "encode_prompt", None)
    if encode is None:
        yield
        return
    known: dict[str, Any] = {}

    def remembered(*args: Any, **kwargs: Any) -> Any:
        if not _is_in_words((args, kwargs)):
            return encode(*args, **kwargs)
        asked = repr((args, sorted(kwargs.items())))
        if asked not in known:
            known[asked] = encode(*args, **kwargs)
        return known[asked]

    with swapped(pipe, "encode_prompt", remembered):
        yield


def _is_in_words(value: Any) -> bool:
    """Whether it is the same wherever it reads the same: no tensor, no picture."""
    if isinstance(value, (list, tuple)):
        return all(map(_is_in_words, value))
    if isinstance(value, dict):
        return all(map(_is_in_words, value.values()))
    return value is None or isinstance(value, (str, int, float, torch.device, torch.dtype))
