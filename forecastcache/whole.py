"""Whole: files that are written whole or not at all."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from uuid import uuid4


@contextmanager
def whole(path: Path) -> Iterator[Path]:
    """A file to write beside `path`, whose folder is made; it becomes `path` at the end.

    Where writing fails, what was written is removed, and an earlier `path` stays as it was.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_name(f"{path.name}.{uuid4().hex[:8]}.partial")  # several may write
    try:
        yield partial
        partial.replace(path)
    finally:
        partial.unlink(missing_ok=True)
