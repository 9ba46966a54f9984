"""LoopEnd: sees where a pipeline's loop over its steps ends, however it ends."""

from __future__ import annotations

import threading
import weakref
from collections.abc import Callable, Iterator
from typing import Any

PLACE = "progress_bar"  # what every pipeline of diffusers opens around its steps


class LoopEnd:
    """Stands in a pipeline for its progress bar, on the instance, until it is removed.

    The last step tells a run's end only where it comes. An interrupted run, one whose callback
    raises and one with `denoising_end` leave their loop, and their progress bar, before it.

    Args:
        pipeline: pipeline to watch; one without a progress bar is left as it is.
        ended: function called with the pipeline and whether an exception ended the loop, in the
            thread of the loop. Loops within a loop do not count.
    """

    def __init__(self, pipeline: object, ended: Callable[[object, bool], None]) -> None:
        self._pipeline = weakref.ref(pipeline)
        self._ended: Callable[[object, bool], None] | None = ended
        self._replaced = vars(pipeline).get(PLACE) if hasattr(pipeline, "__dict__") else None
        self._open = threading.local()
        self._placed = callable(getattr(pipeline, PLACE, None)) and hasattr(pipeline, "__dict__")
        if self._placed:
            vars(pipeline)[PLACE] = self

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        pipeline = self._pipeline()
        own = self._replaced or getattr(type(pipeline), PLACE).__get__(pipeline)
        return _Bar(own(*args, **kwargs), self)

    def remove(self) -> None:
        """Put back what was there; a second call does nothing."""
        pipeline, self._ended = self._pipeline(), None
        if self._placed and pipeline is not None and vars(pipeline).get(PLACE) is self:
            del vars(pipeline)[PLACE]
            if self._replaced is not None:
                vars(pipeline)[PLACE] = self._replaced

    def enter(self) -> None:
        """A bar was opened in this thread."""
        self._open.count = getattr(self._open, "count", 0) + 1

    def leave(self, failed: bool) -> None:
        """A bar was closed in this thread."""
        self._open.count -= 1
        pipeline = self._pipeline()
        if self._open.count == 0 and self._ended is not None and pipeline is not None:
            self._ended(pipeline, failed)


class _Bar:
    """A progress bar, as it is opened and left: by `with`, or by going through what it holds."""

    def __init__(self, bar: Any, loop: LoopEnd) -> None:
        self._bar = bar
        self._loop = loop

    def __getattr__(self, name: str) -> Any:
        return getattr(self._bar, name)

    def __len__(self) -> int:
        return len(self._bar)

    def __enter__(self) -> Any:
        entered = self._bar.__enter__()
        self._loop.enter()
        return entered

    def __exit__(self, kind: Any, error: Any, traceback: Any) -> Any:
        try:
            return self._bar.__exit__(kind, error, traceback)
        finally:
            self._loop.leave(failed=kind is not None)

    def __iter__(self) -> Iterator[Any]:
        self._loop.enter()
        failed = True
        try:
            yield from self._bar
            failed = False
        finally:
            # Closed before its end, it cannot tell a `break` from an exception.
            self._loop.leave(failed)
