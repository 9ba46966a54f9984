"""Report: what one trajectory did."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from statistics import median
from typing import NamedTuple

from forecastcache.accountant import Rehearsal
from forecastcache.step import Step


class Call(NamedTuple):
    """One call of the model.

    Attributes:
        step: it was made at.
        branch: of guidance, 0 for the first call of a step.
        computed: whether the model ran; if not, the call was forecast.
        seconds: on the host's clock, which runs ahead of a device that works by itself.
        kind: number of the rehearsal that it is like; another where shapes changed in the run.
    """

    step: Step
    branch: int
    computed: bool
    seconds: float
    kind: int = 0


@dataclass(frozen=True)
class Report:
    """What the newest trajectory of a session did.

    Attributes:
        model: class of the model.
        site: granularity that was forecast.
        schedule: as configured.
        predictor: as configured.
        calls: every call of the model, in order.
        cache_bytes: the most that the histories held at a time, measured.
        cache_bytes_planned: the same, planned from shapes; None where the model cannot be
            rehearsed without data.
        rehearsals: FLOPs and features of a step, by kind of call; None likewise.
    """

    model: str
    site: str
    schedule: str
    predictor: str
    calls: tuple[Call, ...]
    cache_bytes: int
    cache_bytes_planned: int | None
    rehearsals: Sequence[Rehearsal] | None

    @property
    def steps(self) -> int:
        """Steps of the trajectory so far."""
        return len({call.step.index for call in self.calls})

    @property
    def computed(self) -> tuple[int, ...]:
        """Steps of which at least one branch was computed."""
        return tuple(sorted({call.step.index for call in self.calls if call.computed}))

    @property
    def ceiling(self) -> float:
        """The speed-up of the model if forecasts took no time: calls by computed calls."""
        return len(self.calls) / max(1, sum(call.computed for call in self.calls))

    @property
    def flops(self) -> int | None:
        """Of all calls of the model."""
        return self._flops(call.computed for call in self.calls)

    @property
    def flops_plain(self) -> int | None:
        """Of the same calls, were they all computed."""
        return self._flops(True for _ in self.calls)

    def _flops(self, computed: Iterable[bool]) -> int | None:
        if self.rehearsals is None:
            return None
        steps = zip((self.rehearsals[call.kind] for call in self.calls), computed)
        return sum(each.flops_computed if ran else each.flops_forecast for each, ran in steps)

    def seconds(self, computed: bool) -> float | None:
        """Median seconds of a computed or a forecast call; None if there was none."""
        chosen = [call.seconds for call in self.calls if call.computed == computed]
        return median(chosen) if chosen else None

    def __str__(self) -> str:
        if not self.calls:
            return f"{self.model}: no step taken yet"
        indices = " ".join(map(str, self.computed))
        lines = [
            f"{self.model}, site {self.site}: {self.predictor}, {self.schedule}",
            f"{self.steps} steps, {len(self.computed)} computed: {indices}",
            f"at most {self.ceiling:.2f} times as fast as computing all",
            f"a computed call {_milliseconds(self.seconds(True))}, "
            f"a forecast call {_milliseconds(self.seconds(False))}",
            f"cache bytes {self.cache_bytes:,}, planned {_count(self.cache_bytes_planned)}",
        ]
        return "\n".join(lines)


def _milliseconds(seconds: float | None) -> str:
    return "none" if seconds is None else f"{seconds * 1e3:.3g} ms"


def _count(count: int | None) -> str:
    return "not" if count is None else f"{count:,}"
