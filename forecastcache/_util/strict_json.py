"""Strict JSON: what the standard parser lets pass or stumbles over is refused by name."""

from __future__ import annotations

import json
import re
from typing import Any

from forecastcache.bounds import MOST

STRING = re.compile(r'"(?:[^"\\]|\\.)*"?', re.DOTALL)


def strict_json(text: str) -> Any:
    """The value of a JSON text, without NaN, infinity, a key that stands twice or endless nesting.

    Raises:
        json.JSONDecodeError: the text is no JSON.
        ValueError: it is JSON, and refused; the message is one line that says why.
    """
    require_shallow(STRING.sub("", text))
    return json.loads(
        text, parse_int=short_number, parse_constant=_refuse_constant, object_pairs_hook=_once
    )


def require_shallow(text: str) -> None:
    """Refuse more brackets within one another than any input of ours has.

    Raises:
        ValueError: naming the bound.
    """
    depth, most = 0, MOST["brackets in brackets"]
    for bracket in re.findall(r"[\[\](){}]", text):
        depth += 1 if bracket in "([{" else -1
        if depth > most:
            raise ValueError(f"brackets stand in brackets more than {most} deep: write it flatter")


def short_number(digits: str) -> int:
    """The whole number that a text spells.

    Raises:
        ValueError: it has more digits than a number of ours, or is no number.
    """
    most = MOST["digits of a number"]
    if len(digits) > most:
        raise ValueError(f"a number has {len(digits):,} digits: {most} are the most")
    return int(digits)


def refused_twice(key: object) -> ValueError:
    """The error of a key that an object or a mapping has twice."""
    return ValueError(f"the key {key!r} stands twice: keep one")


def _once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for key, value in pairs:
        if key in found:
            raise refused_twice(key)
        found[key] = value
    return found


def _refuse_constant(name: str) -> float:
    raise ValueError(f"{name} is no number of JSON: write a finite one")
