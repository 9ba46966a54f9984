"""Report: what one trajectory did."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from statistics import median
from typing import NamedTuple

from forecastcache.memory.dry_run import DryRun
from forecastcache.step import Step


class CallRecord(NamedTuple):
    """One call of the model.

    Attributes:
        step: step that the call belongs to.
        branch: number of its branch of guidance, the same through the whole trajectory.
        was_computed: whether the model ran; if not, the call was forecast.
        seconds: duration on the host's clock, which runs ahead of a device that works by itself.
        shapes: number of the dry run with its shapes; another where shapes changed in the run.
    """

    step: Step
    branch: int
    was_computed: bool
    seconds: float
    shapes: int = 0


@dataclass(frozen=True)
class Report:
    """What the newest trajectory of a session did.

    Attributes:
        model: class of the model.
        site: granularity that was forecast.
        schedule: schedule as configured.
        predictor: predictor as configured.
        calls: every call of the model, in order.
        cache_bytes: most bytes that the histories held at a time, measured.
        cache_bytes_planned: the same bytes, planned from shapes; None where the dry run failed.
        dry_runs: FLOPs and features of a step, one for each set of shapes that the run's calls
            had; None where the dry run failed.
        unplanned: reason why the dry run failed; None where it did not.
        remark: what the schedule has to say of the run, with the remedy; None for nothing.
        shown_bytes: most bytes of the latents and first-block residuals that were kept for a
            predictor that needs them; they are not planned, and in no budget.
    """

    model: str
    site: str
    schedule: str
    predictor: str
    calls: tuple[CallRecord, ...]
    cache_bytes: int
    cache_bytes_planned: int | None
    dry_runs: Sequence[DryRun] | None
    unplanned: str | None = None
    remark: str | None = None
    shown_bytes: int = 0

    @property
    def steps(self) -> int:
        """Number of steps of the trajectory so far."""
        return len({call.step.index for call in self.calls})

    @property
    def computed(self) -> tuple[int, ...]:
        """Steps of which at least one branch was computed."""
        return tuple(sorted({call.step.index for call in self.calls if call.was_computed}))

    @property
    def ceiling(self) -> float:
        """The speedup of the model if forecasts took no time: calls by computed calls."""
        return len(self.calls) / max(1, sum(call.was_computed for call in self.calls))

    @property
    def flops(self) -> int | None:
        """Operations of all calls of the model; None where the dry run failed.

        Looks that a schedule takes into the model are none of these; `evaluate` counts them.
        """
        if self.dry_runs is None:
            return None
        newest: dict[int, int] = {}  # computed step of each branch
        total = 0
        for call in self.calls:
            if call.was_computed:
                newest[call.branch] = call.step.index
            age = call.step.index - newest[call.branch]
            total += self.dry_runs[call.shapes].flops(age, call.step.share)
        return total

    @property
    def flops_plain(self) -> int | None:
        """Operations of the same calls, were they all computed."""
        if self.dry_runs is None:
            return None
        return sum(self.dry_runs[call.shapes].flops_plain for call in self.calls)

    def seconds(self, was_computed: bool) -> float | None:
        """Median seconds of a computed or a forecast call; None if there was none."""
        chosen = [call.seconds for call in self.calls if call.was_computed == was_computed]
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
            f"cache bytes {self.cache_bytes:,}, planned {self._planned()}",
        ]
        if self.shown_bytes:
            lines.append(f"and {self.shown_bytes:,} bytes that the predictor is shown beside them")
        if self.remark is not None:
            lines.append(self.remark)
        return "\n".join(lines)

    def _planned(self) -> str:
        if self.cache_bytes_planned is None:
            return f"not: {self.unplanned}"
        return f"{self.cache_bytes_planned:,}"


def _milliseconds(seconds: float | None) -> str:
    return "none" if seconds is None else f"{seconds * 1e3:.3g} ms"
