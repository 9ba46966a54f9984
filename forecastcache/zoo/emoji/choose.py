"""Makes `names.json`: `python -m forecastcache.zoo.emoji.choose`.

Needs the npm package with the pictures, and the PyPI package `emoji` for Unicode's CLDR names.
"""

from __future__ import annotations

import json
import math
import re
import unicodedata
from collections.abc import Iterator, Sequence
from importlib import import_module
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F

from forecastcache._util.atomic_write import atomic_write
from forecastcache.zoo.emoji import names, pictures

ALIKE = 0.05  # RMS difference on grey, of 1, below which two pictures are one
SAME = 0.06  # below which an emoji that was turned looks as before
LEFT_OUT = {"Flags": {"flag"}, "Component": set[str]()}  # but for these subcategories
DULL = {"alphanum", "family", "keycap", "skin-tone"}
GENDERS = {"woman": "person", "man": "person", "women": "people", "men": "people"}
TWINS = re.compile(r"facing right|^family|oclock$|^\w+ thirty$|\d")
MIRRORING = {"Smileys & Emotion", "People & Body", "Animals & Nature", "Food & Drink"}
WORDS = 5  # of a name, at most


def choose(records: Sequence[dict[str, Any]], cldr: dict[str, str]) -> list[names.Emoji]:
    """The emoji to keep.

    Args:
        records: the package's `emoji.json`.
        cldr: names by code points, such as `1F600`.

    Raises:
        MissingDataError: the package with the pictures is missing.
    """
    ordered = sorted(records, key=lambda it: int(it["sort_order"]))
    said = {it["unified"]: plain(cldr[it["unified"]]) for it in ordered}
    wanted = [it for it in ordered if _wanted(it, said[it["unified"]], set(said.values()))]
    place = pictures.picture_folder()
    grey = torch.stack([_on_grey(pictures.opaque(place / it["image"])) for it in wanted])
    keep = _apart(grey)
    wanted, grey = [wanted[i] for i in keep], grey[keep]
    tilts, mirrors = _differ(_turned(grey), grey), ~_taken(grey.flip(-1), grey)
    return [
        names.Emoji(
            it["image"].removesuffix(".png"),
            said[it["unified"]],
            bool(tilts[i]),
            it["category"] in MIRRORING and bool(mirrors[i]) and "left" not in said[it["unified"]]
            and "right" not in said[it["unified"]],
        )
        for i, it in enumerate(wanted)
    ]  # fmt: skip


def plain(name: str) -> str:
    """A name in lower case, of letters, digits and single spaces."""
    letters = unicodedata.normalize("NFKD", name.lower()).encode("ascii", "ignore").decode()
    return " ".join(re.findall(r"[a-z0-9]+", letters))


def _wanted(record: dict[str, Any], name: str, every: set[str]) -> bool:
    group, part = record["category"], record["subcategory"]
    neutral = " ".join(GENDERS.get(word, word) for word in name.split())
    bare = " ".join(word for word in name.split() if word not in GENDERS)
    doubled = name != neutral and (neutral in every or bare in every)
    return not (
        (group in LEFT_OUT and part not in LEFT_OUT[group])
        or part in DULL
        or doubled
        or TWINS.search(name)
        or len(name.split()) > WORDS
    )


def _on_grey(picture: Tensor) -> Tensor:
    return (picture[:3].float() + (255 - picture[3:].float()) / 2) / 255


def _apart(grey: Tensor) -> list[int]:
    """Those that differ from every one kept before them."""
    distance = _distances(grey, grey)
    kept: list[int] = []
    for i in range(len(grey)):
        if not kept or distance[i, kept].min() >= ALIKE:
            kept.append(i)
    return kept


def _taken(images: Tensor, grey: Tensor) -> Tensor:
    """Where an image is nearer to another emoji's picture than that is far from its own."""
    distance = _distances(images, grey)
    own = distance.diagonal().clone()
    distance.fill_diagonal_(torch.inf)
    return distance.min(1).values < own.clamp(max=2 * ALIKE)


def _distances(some: Tensor, others: Tensor) -> Tensor:
    """RMS differences between pictures, `(n, m)`."""
    return torch.cdist(some.flatten(1), others.flatten(1)) / math.sqrt(some[0].numel())


def _turned(grey: Tensor) -> Tensor:
    cos, sin = torch.tensor(pictures.LEAN).cos(), torch.tensor(pictures.LEAN).sin()
    turn = torch.stack([torch.stack([cos, sin, sin * 0]), torch.stack([-sin, cos, sin * 0])])
    grid = F.affine_grid(turn.expand(len(grey), 2, 3), list(grey.shape), align_corners=False)
    turned: Tensor = F.grid_sample(grey - 0.5, grid, align_corners=False) + 0.5
    return turned


def _differ(some: Tensor, others: Tensor) -> Tensor:
    return (some - others).square().flatten(1).mean(1).sqrt() > SAME


def _rows(chosen: Sequence[names.Emoji]) -> Iterator[str]:
    yield from (json.dumps(it) for it in chosen)


if __name__ == "__main__":
    table: dict[str, dict[str, str]] = import_module("emoji").EMOJI_DATA
    cldr_names = {
        "-".join(f"{ord(it):04X}" for it in text): row["en"].strip(":").replace("_", " ")
        for text, row in table.items()
    }
    source = pictures.picture_folder().parents[2] / "emoji.json"
    listed = choose(json.loads(source.read_text(encoding="utf-8")), cldr_names)
    with atomic_write(names.LIST) as partial:
        partial.write_text("[\n" + ",\n".join(_rows(listed)) + "\n]\n", encoding="utf-8")
    print(f"{len(listed)} emoji in {names.LIST}")
