"""Locks: a file that one process at a time holds."""

from __future__ import annotations

import os
import socket
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TextIO

from forecastcache.errors import ForecastCacheError

try:
    import fcntl
except ImportError:  # Windows
    fcntl = None  # type: ignore[assignment]


class LockedError(ForecastCacheError):
    """Another process holds the lock; the message is its number and machine."""


@contextmanager
def locked(path: Path) -> Iterator[None]:
    """Hold a lock, whose file has the number and machine of its owner; the file is removed after.

    The operating system frees the lock of a process that dies, so the file that it leaves is
    taken over. Without such locks (Windows, some network disks) nothing is held back.

    Args:
        path: path of the file, in a folder that exists.

    Raises:
        LockedError: another process holds it.
        OSError: the file cannot be written.
    """
    file = _held(path)
    try:
        file.truncate(0)
        file.write(f"process {os.getpid()} on {socket.gethostname()}")
        file.flush()
        yield
    finally:
        with suppress(PermissionError):  # Windows, which removes no open file, holds none back
            path.unlink(missing_ok=True)  # while it is held: nobody else's can be there
        file.close()


def _held(path: Path) -> TextIO:
    while True:
        file = path.open("a+", encoding="utf-8")
        try:
            _lock(file)
            if _is_at(path, file):
                return file
        except BaseException:
            file.close()
            raise
        file.close()


def _lock(file: TextIO) -> None:
    if fcntl is None:
        return
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        file.seek(0)
        raise LockedError(file.read() or "another process") from None
    except OSError:
        pass  # a disk without locks


def _is_at(path: Path, file: TextIO) -> bool:
    """Whether the file still lies there: its last owner may have removed it meanwhile."""
    try:
        return os.path.samestat(path.stat(), os.fstat(file.fileno()))
    except FileNotFoundError:
        return False
