"""Captions of emoji: written from what is drawn, and read back.

"fox on navy, leaning left". An upright emoji is only named; of one that looks the same when turned
nothing is said. Splits are by combination of emoji, background and tilt.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Sequence
from functools import cache
from typing import NamedTuple

import torch
from torch import Tensor

from forecastcache.zoo import data
from forecastcache.zoo.emoji.names import known
from forecastcache.zoo.wording import Wording

BACKGROUNDS = tuple(data.BACKGROUNDS)
TILTS = ("leaning left", "", "leaning right")
UPRIGHT = TILTS.index("")
TENTH = 10
UNSAID = -1


class Scene(NamedTuple):
    """Indices into `names.known()`, `BACKGROUNDS` and `TILTS`."""

    emoji: int
    background: int
    tilt: int


@cache
def scenes(split: data.Split) -> tuple[Scene, ...]:
    """The combinations of one split: a tenth are held out, a tenth are for calibration."""
    every = (
        Scene(emoji, background, tilt)
        for emoji, it in enumerate(known())
        for background in range(len(BACKGROUNDS))
        for tilt in (range(len(TILTS)) if it.tilts else (UPRIGHT,))
    )
    return tuple(it for it in every if split_of_scene(it) == split)


def split_of_scene(scene: Scene) -> data.Split:
    """The split a combination belongs to, by a hash of its words: the same on every machine."""
    digest = hashlib.sha256(describe(scene).encode()).digest()
    tenth = int.from_bytes(digest[:4], "big") % TENTH
    return {0: "held-out", 1: "calibration"}.get(tenth, "train")  # type: ignore[return-value]


def describe(scene: Scene, bare: bool = False) -> str:
    """A caption in words; `bare` leaves the background out."""
    place = "" if bare else f" on {BACKGROUNDS[scene.background]}"
    return ", ".join(filter(None, (known()[scene.emoji].name + place, TILTS[scene.tilt])))


def draw_descriptions(split: data.Split, count: int, generator: torch.Generator) -> list[str]:
    """`count` captions of one split, every combination before any comes twice."""
    among = scenes(split)
    order: list[int] = []
    while len(order) < count:
        order += torch.randperm(len(among), generator=generator).tolist()
    return [describe(among[i]) for i in order[:count]]


def parse(prompts: Sequence[str]) -> dict[str, Tensor]:
    """What prompts ask for: indices of emoji, background and tilt, `(n,)` each.

    What a prompt does not say is `UNSAID`; no word on the tilt asks for an upright emoji, where
    a tilt would show.
    """
    found = [_read(prompt.lower()) for prompt in prompts]
    return {name: torch.tensor([it[i] for it in found]) for i, name in enumerate(Scene._fields)}


def _read(prompt: str) -> tuple[int, int, int]:
    there, _, tilt = prompt.partition(",")
    name, _, background = there.rpartition(" on ")
    if background.strip() not in BACKGROUNDS:
        name, background = there, ""
    emoji = _numbers().get(name.strip(), UNSAID)
    behind = BACKGROUNDS.index(background.strip()) if background else UNSAID
    shows = emoji != UNSAID and known()[emoji].tilts and tilt.strip() in TILTS
    return emoji, behind, TILTS.index(tilt.strip()) if shows else UNSAID


@cache
def _numbers() -> dict[str, int]:
    return {it.name: i for i, it in enumerate(known())}


def emoji_wording(moving: bool) -> Wording:
    """How the models of emoji are asked; none of them moves."""
    return Wording(emoji_words(), draw_descriptions, unknown_words)


@cache
def emoji_words() -> tuple[str, ...]:
    """Every word that a caption can hold."""
    phrases = [*(it.name for it in known()), "on", *BACKGROUNDS, *TILTS]
    return tuple(dict.fromkeys(" ".join(phrases).split()))


def unknown_words(prompts: Sequence[str]) -> list[str]:
    """The words of prompts that no caption holds, each once."""
    words = re.findall(r"\w+", " ".join(prompts).lower())
    return [word for word in dict.fromkeys(words) if word not in emoji_words()]
