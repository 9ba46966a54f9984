"""Atomic writes: files that are written in full or not at all."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from uuid import uuid4


def partial_of(path: Path) -> Path:
    """A temporary name beside `path`, another at every call: several may write."""
    return path.with_name(f"{path.name}.{uuid4().hex[:8]}.partial")


@contextmanager
def atomic_write(path: Path) -> Iterator[Path]:
    """Yield a temporary file beside `path`, which becomes `path` at the end.

    The folder is made. Where writing fails, the temporary file is removed, and an earlier `path`
    stays as it was.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = partial_of(path)
    try:
        yield partial
        partial.replace(path)
    finally:
        partial.unlink(missing_ok=True)
