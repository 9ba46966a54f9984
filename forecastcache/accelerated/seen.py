"""Seen: what the calls of an accelerated pipeline have shown."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from statistics import median


@dataclass
class Seen:
    """What the calls have shown.

    Attributes:
        plain: seconds of each plain call.
        fast: seconds of each accelerated call.
        computed: computed steps of the newest accelerated call.
        steps: number of its steps; None where there was none.
        cache_bytes: bytes that its histories held.
        drift: how many times what the calibration saw forecasts missed, at computed steps; the
            worst sample's.
    """

    plain: list[float] = field(default_factory=list)
    fast: list[float] = field(default_factory=list)
    computed: tuple[int, ...] = ()
    steps: int | None = None
    cache_bytes: int = 0
    drift: dict[int, float] = field(default_factory=dict)

    def note(self, step: int, missed: Sequence[float]) -> None:
        """Take note of what the forecasts of a computed step missed, sample by sample."""
        self.drift[step] = max(self.drift.get(step, 0.0), *missed)


def typical(seconds: Sequence[float]) -> float | None:
    """The median; the first of several, which also warms up, is left out."""
    return median(seconds[1:] or seconds) if seconds else None
