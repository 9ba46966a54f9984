"""Store: the rows of an evaluation in a folder, so that an interrupted one goes on."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from hashlib import sha256
from pathlib import Path
from types import CodeType, FunctionType
from typing import Any

from pydantic import ValidationError
from torch import Tensor

from forecastcache.evaluation.measurement import Measurement
from forecastcache.evaluation.method import Method
from forecastcache.evaluation.pictures import save_strip

LONGEST = 80  # letters of a method's name in that of a file


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
        return self._known.get(_key(method))

    def add(self, method: Method, row: Measurement, samples: Tensor | None = None) -> None:
        """Keep a row, and the first of its samples as a picture."""
        if self._folder is None:
            return
        self._folder.mkdir(parents=True, exist_ok=True)
        if samples is not None:
            path = self._strip(method)
            path.parent.mkdir(exist_ok=True)
            save_strip(samples, path)
        line = {"provenance": self._provenance, "key": _key(method), "row": row.figures()}
        with (self._folder / f"rows-{self._rank}.jsonl").open("a", encoding="utf-8") as file:
            file.write("\n" + json.dumps(line))

    def strips(self, methods: Sequence[Method]) -> dict[str, Path]:
        """Pictures of the samples of these methods, as far as there are any."""
        paths = {it.name: self._strip(it) for it in methods} if self._folder else {}
        return {name: path for name, path in paths.items() if path.is_file()}

    def _strip(self, method: Method) -> Path:
        assert self._folder is not None
        of = digest(json.dumps(self._provenance, sort_keys=True))
        plain = "".join(it if it.isalnum() or it in "-=.+" else "_" for it in method.name)
        return self._folder / f"samples-{of}" / f"{plain[:LONGEST]}-{_key(method)}.png"

    def _read(self) -> Iterator[tuple[str, Measurement]]:
        for path in sorted(self._folder.glob("rows-*.jsonl")) if self._folder else ():
            for line in path.read_text(encoding="utf-8").splitlines():
                known = _parsed(line, self._provenance)
                if known is not None:
                    yield known


def digest(data: str | bytes) -> str:
    """A short name of some data; other data have another."""
    return sha256(data.encode() if isinstance(data, str) else data).hexdigest()[:12]


def _key(method: Method) -> str:
    """A digest of all that a method is: a calibration's rows, the code of a predictor at work."""
    return digest(repr(method) + _code_of(type(getattr(method, "predictor", method))))


def _code_of(kind: type) -> str:
    """What its methods do; unlike their source, a notebook has that too."""
    methods = [
        (name, getattr(member, "fget", member))
        for base in kind.__mro__
        for name, member in vars(base).items()
    ]
    return repr(
        [(name, _as_data(it.__code__)) for name, it in methods if isinstance(it, FunctionType)]
    )


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
    except (ValueError, TypeError, KeyError, ValidationError):
        return None
