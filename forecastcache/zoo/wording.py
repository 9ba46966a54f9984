"""How a zoo model is asked in words."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import NamedTuple

import torch

from forecastcache.zoo.data import Split


class Wording(NamedTuple):
    """The words that a model knows.

    Attributes:
        vocabulary: every word that a caption can hold.
        draw: function of a split, a number and a generator, to that many captions.
        unknown: function of prompts, to the words of them that no caption holds.
    """

    vocabulary: tuple[str, ...]
    draw: Callable[[Split, int, torch.Generator], list[str]]
    unknown: Callable[[Sequence[str]], list[str]]
