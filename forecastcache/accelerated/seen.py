"""Seen: what the calls of an accelerated pipeline have shown."""

from __future__ import annotations

from collections import deque
from collections.abc import Collection, Sequence
from dataclasses import dataclass, field
from statistics import median

NEWEST = 100  # calls of a kind whose seconds are kept: a service makes no end of them


def _newest() -> deque[float]:
    return deque(maxlen=NEWEST)


@dataclass
class Seen:
    """What the calls have shown.

    Attributes:
        plain: seconds of the newest plain calls.
        fast: seconds of the newest accelerated calls.
        plain_calls: number of plain calls.
        fast_calls: number of accelerated calls.
        computed: computed steps of the newest accelerated call.
        steps: number of its steps; None where there was none.
        cache_bytes: bytes that its histories held.
        drift: how many times what the calibration saw forecasts missed, at computed steps; the
            worst sample's.
    """

    plain: deque[float] = field(default_factory=_newest)
    fast: deque[float] = field(default_factory=_newest)
    plain_calls: int = 0
    fast_calls: int = 0
    computed: tuple[int, ...] = ()
    steps: int | None = None
    cache_bytes: int = 0
    drift: dict[int, float] = field(default_factory=dict)

    def note_plain(self, seconds: float) -> None:
        """Take note of a plain call."""
        self.plain.append(seconds)
        self.plain_calls += 1

    def note_fast(self, seconds: float) -> None:
        """Take note of an accelerated call."""
        self.fast.append(seconds)
        self.fast_calls += 1

    def note(self, step: int, missed: Sequence[float]) -> None:
        """Take note of what the forecasts of a computed step missed, sample by sample."""
        self.drift[step] = max(self.drift.get(step, 0.0), *missed)


def typical(seconds: Collection[float]) -> float | None:
    """The median; the first of several, which also warms up, is left out."""
    return median([*seconds][1:] or seconds) if seconds else None
