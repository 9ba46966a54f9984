"""Progress: how long work says how far it has come."""

from __future__ import annotations

from collections.abc import Callable

# Called with the stage, how many of its parts are done, and how many there are.
Progress = Callable[[str, int, int], None]


def silent(stage: str, done: int, of: int) -> None:
    """Say nothing."""
