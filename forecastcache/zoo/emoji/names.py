"""The emoji of the zoo: Unicode's pictures without flags, skin tones and near doubles.

`names.json` lists them, as `choose.py` made it.
"""

from __future__ import annotations

import json
from functools import cache
from pathlib import Path
from typing import NamedTuple

LIST = Path(__file__).parent / "names.json"


class Emoji(NamedTuple):
    """One emoji.

    Attributes:
        code: code points as the picture's file is named, such as `1f600`.
        name: CLDR short name in lower case, letters, digits and spaces only.
        tilts: whether it looks another one when turned a little; a disc does not.
        mirrors: whether its mirror image means the same.
    """

    code: str
    name: str
    tilts: bool
    mirrors: bool


@cache
def known() -> tuple[Emoji, ...]:
    """Every emoji of the zoo, in Unicode's order."""
    return tuple(Emoji(*row) for row in json.loads(LIST.read_text(encoding="utf-8")))
