"""Captions: what each sample of a request was asked as."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

from forecastcache.sampling.request import Request


class Caption(NamedTuple):
    """What one sample was asked as.

    Attributes:
        text: prompt or label of the class; empty where nothing was asked.
        seed: seed of its noise.
    """

    text: str
    seed: int

    def __str__(self) -> str:
        return f"{self.text}, seed {self.seed}" if self.text else f"seed {self.seed}"

    def in_lines(self) -> str:
        """The seed in a line of its own."""
        return f"{self.text}\nseed {self.seed}" if self.text else str(self)


def captions(pipe: Any, request: Request) -> Sequence[Caption]:
    """The caption of each sample of a request, in order."""
    asked = request.keywords(pipe)
    labels = {number: name for name, number in getattr(pipe, "labels", {}).items()}
    classes = [labels.get(number, f"class {number}") for number in asked.get("class_labels", ())]
    texts = asked.get("prompt") or classes or [""] * len(asked["generator"])
    seeds = (generator.initial_seed() for generator in asked["generator"])
    return tuple(Caption(str(text), seed) for text, seed in zip(texts, seeds))
