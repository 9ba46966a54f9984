"""The answer to a question: one JSON file, written anew after every row."""

from __future__ import annotations

import gc
import json
import platform
import sys
import traceback
from collections.abc import Iterator
from contextlib import contextmanager
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import torch

from forecastcache._util.atomic_write import atomic_write

PACKAGES = ("forecastcache", "torch", "triton", "diffusers", "transformers", "cache-dit")


class Answer:
    """Rows, what was skipped and what failed; on disk whatever becomes of the process.

    Args:
        path: path of the file, which is replaced as a whole.
        content: what the file holds to begin with.
    """

    def __init__(self, path: Path, content: dict[str, Any]) -> None:
        self.path, self.content = path, content
        self._write()

    @classmethod
    def new(
        cls, path: Path, name: str, device: str, tiny: bool, card: str | None = None
    ) -> Answer:
        """An answer without rows."""
        about = {
            "question": name,
            "command": _command(),
            "device": device,
            "card": card,
            "versions": {package: found for package in PACKAGES if (found := _version(package))},
            "python": platform.python_version(),
            "machine": f"{platform.machine()}, {torch.get_num_threads()} threads",
            "tiny": tiny,
        }
        return cls(path, {**about, "finished": False, "rows": [], "skipped": [], "failed": []})

    @classmethod
    def left_behind(cls, path: Path) -> Answer:
        """What a process that has ended wrote."""
        return cls(path, json.loads(path.read_text()))

    def row(self, **figures: Any) -> None:
        """Add a row; five digits of a number are enough."""
        figures = {
            name: float(f"{it:.5g}") if isinstance(it, float) else it
            for name, it in figures.items()
        }
        print("  " + "  ".join(f"{key} {it}" for key, it in figures.items()), flush=True)
        self._add("rows", figures)

    def skip(self, what: str, reason: str) -> None:
        """Say what is left out, and why."""
        print(f"  {what}: skipped, {reason}", flush=True)
        self._add("skipped", {"what": what, "reason": reason})

    def fail(self, what: str, error: str, where: str = "") -> None:
        """Say what went wrong."""
        print(f"  {what}: failed, {error}\n{where}", file=sys.stderr, flush=True)
        self._add("failed", {"what": what, "error": error, "where": where})

    def finish(self) -> None:
        """Say that all there was to do is done."""
        self.content["finished"] = True
        self._write()

    @contextmanager
    def trying(self, what: str) -> Iterator[None]:
        """Go on after an error: running out of memory skips `what`, all else fails it."""
        try:
            yield
        except torch.cuda.OutOfMemoryError as error:
            self.skip(what, f"out of memory: {_first_line(error)}")
        except Exception as error:  # one row is not to end the others
            named = f"{type(error).__name__}: {_first_line(error)}"
            self.fail(what, named, "".join(traceback.format_tb(error.__traceback__)[-4:]))
        # Only here are the frames of an error gone, and with them what they held.
        gc.collect()
        if torch.cuda.is_initialized():
            torch.cuda.empty_cache()

    def _add(self, to: str, entry: dict[str, Any]) -> None:
        self.content[to].append(entry)
        self._write()

    def _write(self) -> None:
        with atomic_write(self.path) as unfinished:
            unfinished.write_text(json.dumps(self.content, indent=2) + "\n")


def _command() -> str:
    """What was run, without the folder: that is of one machine."""
    arguments = sys.argv[1:]
    if "--out" in arguments:
        place = arguments.index("--out")
        del arguments[place : place + 2]
    return " ".join(["python benchmarks/gpu/run.py", *arguments])


def _version(package: str) -> str | None:
    try:
        return version(package)
    except PackageNotFoundError:
        return None


def _first_line(error: Exception) -> str:
    return (str(error).strip().splitlines() or [""])[0]
