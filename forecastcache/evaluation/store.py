"""Store: the rows of an evaluation in a folder, so that an interrupted one goes on."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from functools import cached_property
from pathlib import Path
from types import CodeType, FunctionType
from typing import Any

from pydantic import ValidationError
from torch import Tensor

from forecastcache._util.fingerprint import digest
from forecastcache.evaluation.measurement import Measurement
from forecastcache.evaluation.method import Method
from forecastcache.evaluation.pictures import save_strip
from forecastcache.options import Options

ROWS = "rows-*.jsonl"
LONGEST = 80  # letters of a method's name in that of a file
# Where the function is that a member of a class was made from; else in `__wrapped__`, if anywhere.
MADE_FROM = {
    property: "fget",
    cached_property: "func",
    classmethod: "__func__",
    staticmethod: "__func__",
}


class Store:
    """The rows of one evaluation; each process that measures writes a file of its own.

    Args:
        folder: folder of the rows; None keeps nothing.
        provenance: the model, request and versions of the rows; rows of any other are not taken.
        rank: rank of this process.
    """

    def __init__(self, folder: Path | None, provenance: dict[str, Any], rank: int = 0) -> None:
        self._folder, self._provenance, self._rank = folder, provenance, rank
        self._known = dict(self._read())

    def get(self, method: Method) -> Measurement | None:
        """The row of a method, if it was measured before; a failure is tried again."""
        return self._known.get(key_of(method))

    def add(
        self,
        method: Method,
        row: Measurement,
        samples: Tensor | None = None,
        plain: Tensor | None = None,
    ) -> None:
        """Keep a row, and the first of its samples and of the plain run's as pictures."""
        if self._folder is None:
            return
        self._folder.mkdir(parents=True, exist_ok=True)
        if samples is not None:
            path = self._strip(method)
            path.parent.mkdir(exist_ok=True)
            save_strip(samples, path)
        if plain is not None and not self._plain.is_file():
            save_strip(plain, self._plain)
        line = {"provenance": self._provenance, "key": key_of(method), "row": row.figures()}
        with (self._folder / f"rows-{self._rank}.jsonl").open("a", encoding="utf-8") as file:
            file.write("\n" + json.dumps(line))

    def strips(self, methods: Sequence[Method]) -> dict[str, Path]:
        """Pictures of the samples of these methods, as far as there are any."""
        paths = {it.name: self._strip(it) for it in methods} if self._folder else {}
        return {name: path for name, path in paths.items() if path.is_file()}

    def plain_strip(self) -> Path | None:
        """Picture of the plain run's samples, if there is one."""
        return self._plain if self._folder is not None and self._plain.is_file() else None

    @property
    def _plain(self) -> Path:
        return self._samples / "plain.png"

    @property
    def _samples(self) -> Path:
        assert self._folder is not None
        of = digest(json.dumps(self._provenance, sort_keys=True))
        return self._folder / f"samples-{of}"

    def _strip(self, method: Method) -> Path:
        plain = "".join(it if it.isalnum() or it in "-=.+" else "_" for it in method.name)
        return self._samples / f"{plain[:LONGEST]}-{key_of(method)}.png"

    def _read(self) -> Iterator[tuple[str, Measurement]]:
        for path in sorted(self._folder.glob(ROWS)) if self._folder else ():
            for line in path.read_text(encoding="utf-8", errors="replace").split("\n"):
                known = _parsed(line, self._provenance)
                if known is not None:
                    yield known


def key_of(method: Method) -> str:
    """A digest of all that a method is: its options, a calibration's rows, the code at work.

    That code is of the method's class and of every class of options in it, bases included; what a
    class calls outside itself is not seen.
    """
    at_work = [method, *_options_in(getattr(method, "__dict__", method))]
    return digest(repr(method) + repr([code_of(type(each)) for each in at_work]))


def _options_in(thing: Any) -> Iterator[Options]:
    """Every predictor, schedule and baseline in a thing, and in its fields in turn."""
    if isinstance(thing, Options):
        yield thing
    for each in _within(thing):
        yield from _options_in(each)


def _within(thing: Any) -> Iterable[Any]:
    if isinstance(thing, Mapping):
        return thing.values()
    if isinstance(thing, (tuple, list, set, frozenset)):
        return thing
    kind = type(thing)
    names = getattr(kind, "model_fields", getattr(kind, "__dataclass_fields__", ()))
    return [getattr(thing, name) for name in names]


def code_of(kind: type) -> list[Any]:
    """What the methods of a class do; unlike their source, a notebook has that too."""
    return [
        (name, _as_data(code))
        for base in kind.__mro__
        for name, member in vars(base).items()
        for code in _codes(member)
    ]


def _codes(member: Any) -> Iterator[CodeType]:
    """The code of a function, and of the one within a property, a classmethod or a decorator."""
    while member is not None:
        if isinstance(member, FunctionType):
            yield member.__code__
        place = next((at for kind, at in MADE_FROM.items() if isinstance(member, kind)), None)
        member = getattr(member, place or "__wrapped__", None)


def _as_data(code: CodeType) -> list[Any]:
    consts = [_as_data(it) if isinstance(it, CodeType) else _repr(it) for it in code.co_consts]
    return [code.co_code, code.co_names, consts]


def _repr(constant: Any) -> str:
    """The same in every process, sets included."""
    return repr(sorted(map(repr, constant)) if isinstance(constant, frozenset) else constant)


def _parsed(line: str, provenance: dict[str, Any]) -> tuple[str, Measurement] | None:
    """Key and row of a line of this provenance; None where it is cut off, damaged or a failure."""
    try:
        kept = json.loads(line)
        if kept["provenance"] != provenance:
            return None
        row = Measurement.model_validate(kept["row"])
        return None if row.failed else (str(kept["key"]), row)
    except (ValueError, TypeError, KeyError, RecursionError, ValidationError):
        return None
