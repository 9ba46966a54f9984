"""Parts: what was done of a calibration, kept in a folder beside its file until that is written.

A note in the folder says what the parts are of. A folder without one is somebody else's, and of
one that has it only files with names of ours are ever removed.
"""

from __future__ import annotations

import json
import logging
import re
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
from safetensors import SafetensorError

from forecastcache._util.atomic_write import atomic_write
from forecastcache._util.fingerprint import digest
from forecastcache._util.lock import LockedError, locked
from forecastcache.calibration import sealed
from forecastcache.calibration.distributed import ProcessGroup
from forecastcache.errors import CalibrationError

logger = logging.getLogger("forecastcache")
FORMAT = "parts of a forecastcache calibration"
NOTE, LOCK = "of.json", "lock"
OURS = re.compile(
    r"(of\.json|(displaced-)?\d+-\d{4,}\.safetensors|(fit|search|check)-\w+\.json)(\.[0-9a-f]{8}\.partial)?"
)
Arrays = dict[str, np.ndarray]
Found = tuple[dict[str, Any], Arrays]


@dataclass(frozen=True)
class Parts:
    """The folder of one calibration.

    Attributes:
        folder: its path.
        note: what all parts in it are of, by the name of each thing.
    """

    folder: Path
    note: Mapping[str, str]

    @classmethod
    @contextmanager
    def of(cls, out: Path, note: Mapping[str, str], group: ProcessGroup) -> Iterator[Parts]:
        """The folder beside the file `out`, made or found; no other calibration has it meanwhile.

        Raises:
            CalibrationError: it is somebody else's, of another calibration, or in use; every
                process of the group says so.
        """
        parts = cls(out.with_name(out.name + ".parts"), note)
        with ExitStack() as held:
            held.callback(parts._leave_if_empty)
            # The main process first: on a shared disk the others find what it has made.
            for turn in (True, False):
                complaint = None
                if group.is_main is turn:
                    try:
                        parts._open(held, alone=group.is_main)
                    except CalibrationError as error:
                        complaint = str(error)
                complaints = [it for it in group.gather(complaint) if it]
                if complaints:
                    raise CalibrationError(complaints[0])
            yield parts

    def remove(self) -> None:
        """Remove what was kept; a file that is not ours stays, and the folder with it."""
        for path in self._files():
            if OURS.fullmatch(path.name):
                path.unlink(missing_ok=True)

    def read(self, name: str) -> Any:
        """What `write` kept under this name; None where nothing was, or it is damaged.

        Raises:
            CalibrationError: it is of another calibration.
        """
        found = self._read(name, lambda path: (sealed.read_json(path), {}))
        return None if found is None else found[0]["content"]

    def write(self, name: str, content: Any) -> None:
        """Keep a JSON value.

        Raises:
            CalibrationError: it cannot be written.
        """
        with self._kept(name) as unfinished:
            sealed.write_json(unfinished, {"of": self._of, "content": content})

    def read_arrays(self, name: str) -> tuple[dict[str, Any], dict[str, np.ndarray]] | None:
        """What `write_arrays` kept under this name; None where nothing was, or it is damaged.

        Raises:
            CalibrationError: it is of another calibration.
        """
        found = self._read(name, sealed.read_arrays)
        return None if found is None else (found[0]["content"], found[1])

    def write_arrays(
        self, name: str, numbers: Mapping[str, Any], arrays: Mapping[str, np.ndarray]
    ) -> None:
        """Keep numbers and arrays.

        Raises:
            CalibrationError: they cannot be written.
        """
        with self._kept(name) as unfinished:
            sealed.write_arrays(unfinished, {"of": self._of, "content": dict(numbers)}, arrays)

    @cached_property
    def _of(self) -> str:
        """A short name of the note, which every part carries."""
        return digest(json.dumps(dict(self.note), sort_keys=True))

    def _read(self, name: str, read: Callable[[Path], tuple[Any, Arrays]]) -> Found | None:
        path = self.folder / name
        if not path.exists():
            return None
        try:
            header, arrays = read(path)
        except sealed.DamagedError:
            header, arrays = None, {}
        if not isinstance(header, dict) or not sealed.is_sealed(header, arrays):
            logger.warning("calibration: %s is damaged, and is made again", path)
            return None
        if header.get("of") != self._of:
            raise CalibrationError(
                f"{path} is part of another calibration: remove it, or give another --out"
            )
        return header, arrays

    @contextmanager
    def _kept(self, name: str) -> Iterator[Path]:
        path = self.folder / name
        try:
            with atomic_write(path) as unfinished:
                yield unfinished
        except (OSError, SafetensorError) as error:
            raise CalibrationError(
                f"{path} cannot be written ({error}): make room, and start again; what was "
                "recorded before is kept"
            ) from None

    def _open(self, held: ExitStack, alone: bool) -> None:
        self._require_ours()
        if alone:
            self._lock(held)
            self._require_ours()  # now that nobody else changes it
        if not (self.folder / NOTE).exists():
            with self._kept(NOTE) as unfinished:
                unfinished.write_text(json.dumps({"format": FORMAT, **self.note}, indent=1))

    def _lock(self, held: ExitStack) -> None:
        while True:
            try:
                self.folder.mkdir(parents=True, exist_ok=True)
                held.enter_context(locked(self.folder / LOCK))
                return
            except FileNotFoundError:
                continue  # another calibration has just ended, and removed the folder
            except LockedError as owner:
                raise CalibrationError(
                    f"{self.folder} is in use by {owner}, which calibrates into the same file: "
                    "wait until it ends, or give another --out"
                ) from None
            except OSError as error:
                raise CalibrationError(
                    f"{self.folder} cannot be made ({error.strerror}): give another --out"
                ) from None

    def _require_ours(self) -> None:
        """Refuse a folder without our note, unless there is nothing in it, and one of another."""
        if not self.folder.exists():
            return
        if (self.folder / NOTE).is_file():
            self._require_same(self._read_note())
            return
        foreign = [
            path.name
            for path in self._files()
            if path.name != LOCK and not path.name.startswith(f"{NOTE}.")
        ]
        if foreign or not self.folder.is_dir():
            holds = f" (it holds {min(foreign)})" if foreign else ""
            raise CalibrationError(
                f"{self.folder} was not made by a calibration{holds}: move it elsewhere, or give "
                "another --out"
            )

    def _read_note(self) -> dict[str, Any]:
        path = self.folder / NOTE
        try:
            note = json.loads(path.read_text(encoding="utf-8"))
        except (OSError, ValueError, RecursionError):
            note = None
        if not isinstance(note, dict) or note.pop("format", None) != FORMAT:
            raise CalibrationError(
                f"{path} is damaged or no note of a calibration: remove {self.folder}, or give "
                "another --out"
            )
        return note

    def _require_same(self, note: Mapping[str, Any]) -> None:
        names = {**self.note, **note}
        other = [name for name in names if note.get(name) != self.note.get(name)]
        if other:
            raise CalibrationError(
                f"{self.folder} holds part of a calibration that differs in {', '.join(other)}: "
                "ask for the same as then, remove it, or give another --out"
            )

    def _files(self) -> list[Path]:
        try:
            return list(self.folder.iterdir())
        except OSError:  # gone, or no folder
            return []

    def _leave_if_empty(self) -> None:
        with suppress(OSError):
            self.folder.rmdir()
