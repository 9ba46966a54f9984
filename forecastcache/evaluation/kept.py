"""Kept: the rows of an evaluation in a folder, so that an interrupted one goes on where it was."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from hashlib import sha256
from pathlib import Path
from types import CodeType, FunctionType
from typing import Any

from torch import Tensor

from forecastcache.entry import Entry
from forecastcache.evaluation.pictures import save_strip

Row = dict[str, Any]
KEY = "key"
LONGEST = 80  # letters of a name in that of a file


class Kept:
    """What is known of one evaluation; each process that measures writes a file of its own.

    Args:
        folder: where; None keeps nothing.
        about: of what the rows are; rows of anything else are not taken.
        rank: of this process.
    """

    def __init__(self, folder: Path | None, about: Row, rank: int = 0) -> None:
        self._folder, self._about, self._rank = folder, about, rank
        self._known = {row.pop(KEY): row for row in self._read()}

    def get(self, entry: Entry) -> Row | None:
        """The row of an entry, if it was measured before; a failure is tried again."""
        return self._known.get(_key(entry))

    def add(self, entry: Entry, row: Row, samples: Tensor | None = None) -> None:
        """Keep a row, and the first of its samples as a picture."""
        if self._folder is None:
            return
        self._folder.mkdir(parents=True, exist_ok=True)
        if samples is not None:
            path = self._strip(entry)
            path.parent.mkdir(exist_ok=True)
            save_strip(samples, path)
        with (self._folder / f"rows-{self._rank}.jsonl").open("a", encoding="utf-8") as file:
            file.write("\n" + json.dumps({"about": self._about, KEY: _key(entry), **row}))

    def strips(self, entries: Sequence[Entry]) -> dict[str, Path]:
        """Pictures of the samples of these entries, as far as there are any."""
        paths = {it.name: self._strip(it) for it in entries} if self._folder else {}
        return {name: path for name, path in paths.items() if path.is_file()}

    def _strip(self, entry: Entry) -> Path:
        assert self._folder is not None
        of = digest(json.dumps(self._about, sort_keys=True))
        plain = "".join(it if it.isalnum() or it in "-=.+" else "_" for it in entry.name)
        return self._folder / f"samples-{of}" / f"{plain[:LONGEST]}-{_key(entry)}.png"

    def _read(self) -> Iterator[Row]:
        for path in sorted(self._folder.glob("rows-*.jsonl")) if self._folder else ():
            for row in map(_parsed, path.read_text(encoding="utf-8").splitlines()):
                if row and row.pop("about") == self._about and "error" not in row:
                    yield row


def digest(data: str | bytes) -> str:
    """A short name of some data, other for other data."""
    return sha256(data.encode() if isinstance(data, str) else data).hexdigest()[:12]


def _key(entry: Entry) -> str:
    """Of all that an entry is: a calibration's rows, and the code of a predictor under work."""
    return digest(repr(entry) + _code_of(type(getattr(entry, "predictor", entry))))


def _code_of(kind: type) -> str:
    """What its methods do; unlike their source, a notebook has that too."""
    methods = [
        (name, getattr(member, "fget", member))
        for base in kind.__mro__
        for name, member in vars(base).items()
    ]
    return repr(
        [(name, _told(it.__code__)) for name, it in methods if isinstance(it, FunctionType)]
    )


def _told(code: CodeType) -> list[Any]:
    consts = [_told(it) if isinstance(it, CodeType) else _repr(it) for it in code.co_consts]
    return [code.co_code, code.co_names, consts]


def _repr(constant: Any) -> str:
    """The same in every process, sets included."""
    return repr(sorted(map(repr, constant)) if isinstance(constant, frozenset) else constant)


def _parsed(line: str) -> Row | None:
    try:
        row: Row = json.loads(line)
    except json.JSONDecodeError:  # cut off when an earlier call was killed, or empty
        return None
    return row
