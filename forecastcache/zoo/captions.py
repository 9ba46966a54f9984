"""Captions of coloured digits: written from what is drawn, and read back.

"a bold red seven leaning left on a white background, moving right". Stroke weight and slant are
said only where they stand out. Splits are by combination of digit, ink and background, so that the
held-out captions ask for combinations that were never trained on.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Sequence
from functools import cache, partial
from typing import NamedTuple

import torch
from torch import Tensor

from forecastcache.zoo import data
from forecastcache.zoo.motion import MOTIONS
from forecastcache.zoo.wording import Wording

INKS = tuple(data.INKS)
BACKGROUNDS = tuple(data.BACKGROUNDS)
WEIGHTS = ("thin", "", "bold")
SLANTS = ("leaning left", "", "leaning right")
THICKNESS = torch.tensor([4.4, 5.3])  # pixels: the thinnest and the boldest quarter
SLANT = torch.tensor([-0.1, 0.1])
CONTRAST = 0.5  # RGB distance below which an ink cannot be told from its background
TENTH = 10
UNSAID = -1


class Combination(NamedTuple):
    """Indices into `data.DIGITS`, `INKS` and `BACKGROUNDS`."""

    digit: int
    ink: int
    background: int


@cache
def palettes() -> tuple[tuple[int, int], ...]:
    """The pairs of ink and background that can be told apart."""
    distance = torch.cdist(data.colours(data.INKS), data.colours(data.BACKGROUNDS))
    return tuple((ink, background) for ink, background in (distance > CONTRAST).nonzero().tolist())


@cache
def combinations(split: data.Split) -> tuple[Combination, ...]:
    """The combinations of one split: a tenth are held out, a tenth are for calibration."""
    every = [Combination(digit, *palette) for digit in range(10) for palette in palettes()]
    return tuple(it for it in every if split_of(it) == split)


def split_of(combination: Combination) -> data.Split:
    """The split a combination belongs to, by a hash of its words: the same on every machine."""
    words = f"{data.DIGITS[combination.digit]} {INKS[combination.ink]} "
    words += BACKGROUNDS[combination.background]
    tenth = int.from_bytes(hashlib.sha256(words.encode()).digest()[:4], "big") % TENTH
    return {0: "held-out", 1: "calibration"}.get(tenth, "train")  # type: ignore[return-value]


def write(
    combination: Combination,
    weight: str = "",
    slant: str = "",
    motion: str = "",
    bare: bool = False,
) -> str:
    """A caption in words; `bare` leaves the background out."""
    digit, ink, background = combination
    article = "an" if not weight and INKS[ink] == "orange" else "a"
    words = [article, weight, INKS[ink], data.DIGITS[digit], slant]
    if not bare:
        words += ["on a", BACKGROUNDS[background], "background"]
    sentence = " ".join(word for word in words if word)
    return f"{sentence}, {motion}" if motion else sentence


def draw(
    split: data.Split, count: int, generator: torch.Generator, moving: bool = False
) -> list[str]:
    """`count` captions of one split, every combination before any comes twice."""
    known = combinations(split)

    def pick(words: Sequence[str]) -> str:
        return words[int(torch.randint(len(words), (), generator=generator))]

    order: list[int] = []
    while len(order) < count:
        order += torch.randperm(len(known), generator=generator).tolist()
    return [
        write(known[i], pick(WEIGHTS), pick(SLANTS), pick(MOTIONS) if moving else "")
        for i in order[:count]
    ]


def measured(scans: data.Scans) -> tuple[list[str], list[str]]:
    """The words for the weight and the slant of each scan."""
    weights = torch.bucketize(scans.thickness, THICKNESS).tolist()
    slants = torch.bucketize(scans.slant, SLANT).tolist()
    return [WEIGHTS[i] for i in weights], [SLANTS[i] for i in slants]


def read(prompts: Sequence[str]) -> dict[str, Tensor]:
    """What prompts ask for: indices of digit, ink, background and motion, `(n,)` each.

    What a prompt does not say is `UNSAID`.
    """
    found = [_read(prompt.lower()) for prompt in prompts]
    names = ("digit", "ink", "background", "motion")
    return {name: torch.tensor([it[i] for it in found]) for i, name in enumerate(names)}


def _read(prompt: str) -> tuple[int, int, int, int]:
    words = re.findall(r"[a-z]+", prompt)
    behind = {word for word, following in zip(words, words[1:]) if following == "background"}
    before = words[: words.index("on")] if "on" in words else words

    def first(of: Sequence[str], among: Sequence[str]) -> int:
        return next((of.index(word) for word in among if word in of), UNSAID)

    motion = next((i for i, phrase in enumerate(MOTIONS) if phrase in prompt), UNSAID)
    return (
        first(data.DIGITS, words),
        first(INKS, before),
        first(BACKGROUNDS, sorted(behind)),
        motion,
    )


def wording(moving: bool) -> Wording:
    """How the models of coloured digits are asked."""
    return Wording(
        vocabulary(moving), partial(draw, moving=moving), partial(unknown, moving=moving)
    )


@cache
def vocabulary(moving: bool = False) -> tuple[str, ...]:
    """Every word that a caption can hold."""
    phrases = ["a an on background", *WEIGHTS, *INKS, *data.DIGITS, *SLANTS, *BACKGROUNDS]
    if moving:
        phrases += MOTIONS
    return tuple(dict.fromkeys(" ".join(phrases).split()))


def unknown(prompts: Sequence[str], moving: bool = False) -> list[str]:
    """The words of prompts that no caption holds, each once."""
    known = set(vocabulary(moving))
    words = re.findall(r"\w+", " ".join(prompts).lower())
    return [word for word in dict.fromkeys(words) if word not in known]
