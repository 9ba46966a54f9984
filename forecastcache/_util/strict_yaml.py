"""Strict YAML, JSON included: what the standard parser lets pass or stumbles over is refused."""

from __future__ import annotations

import re
from collections import Counter
from pathlib import Path
from typing import Any

import yaml

from forecastcache._util.strict_json import refused_twice, require_shallow, short_number


def read_yaml(path: Path, most: int) -> Any:
    """The value of a YAML file without keys that stand twice or endless nesting.

    Args:
        path: path of the file, which may be a pipe.
        most: number of bytes that it may have.

    Raises:
        OSError: it cannot be read.
        ValueError: it is no such file; the message is one line that says why.
    """
    return parse_yaml(read_text(path, most))


def read_text(path: Path, most: int) -> str:
    """The text of a file of at most so many bytes.

    Raises:
        OSError: it cannot be read.
        ValueError: it is longer, or no UTF-8.
    """
    with path.open("rb") as file:
        data = file.read(most + 1)
    if len(data) > most:
        raise ValueError(f"it is longer than {most:,} bytes: leave some out")
    try:
        return data.decode("utf-8-sig")
    except UnicodeDecodeError:
        raise ValueError("it is no text: write UTF-8") from None


def parse_yaml(text: str) -> Any:
    """The value of a text, as `read_yaml` reads it.

    Raises:
        ValueError: it is no such text; the message is one line that says why.
    """
    require_shallow(text)
    for digits in re.findall(r"\d+", text):
        short_number(digits)
    try:
        return yaml.load(text, _Loader)
    except yaml.YAMLError as error:
        raise ValueError(str(error).splitlines()[0]) from None
    except RecursionError:
        raise ValueError("it is nested too deep: write it flatter") from None


def line_of(text: str, key: str | None) -> int | None:
    """The line, from 1 on, at which a key of the outermost mapping stands; None if it does not."""
    node = yaml.compose(text, _Loader)
    pairs = node.value if isinstance(node, yaml.MappingNode) else ()
    lines = (name.start_mark.line + 1 for name, _ in pairs if name.value == key)
    return next(lines, None)


class _Loader(yaml.SafeLoader):  # type: ignore[misc]
    """A safe loader that takes a key once."""

    def construct_mapping(self, node: Any, deep: bool = False) -> dict[Any, Any]:
        keys = [key.value for key, _ in node.value] if isinstance(node, yaml.MappingNode) else []
        # A key that is itself a list or a mapping is refused by the parent.
        names = Counter(key for key in keys if isinstance(key, str))
        for name, count in names.most_common(1):
            if count > 1:
                raise refused_twice(name)
        found: dict[Any, Any] = super().construct_mapping(node, deep)
        return found
