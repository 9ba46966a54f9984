"""Targets: the schedules that a calibration is to fit, and what that costs."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass

from forecastcache.bounds import whole_number
from forecastcache.calibration.schedule_dp import require_count
from forecastcache.schedule import Schedule
from forecastcache.spec import parse_schedule

FEWEST = 2  # prompts


@dataclass(frozen=True)
class FitTarget:
    """A schedule to be fitted in closed loop.

    Attributes:
        count: number of computed steps.
        computed: computed steps; None if they are to be searched for.
    """

    count: int
    computed: tuple[int, ...] | None = None

    def __str__(self) -> str:
        return (
            f"search:{self.count}" if self.computed is None else ",".join(map(str, self.computed))
        )

    @classmethod
    def of(cls, wish: str | Schedule, total: int) -> FitTarget:
        """A schedule or its spec, or `search:9` for the nine steps that suit best, of `total`.

        Raises:
            CalibrationError: a search for more steps than there are, or none.
            ScheduleError: it is no schedule, decides as it runs, or does not fit the trajectory.
        """
        if isinstance(wish, str) and (match := re.fullmatch(r"search:(\d+)", wish)):
            count = whole_number("steps", match[1], "a search of")
            require_count(count, total)
            return cls(count)
        schedule = parse_schedule(wish, "search:9") if isinstance(wish, str) else wish
        steps = schedule.computed(total)
        return cls(len(steps), steps)


@dataclass(frozen=True)
class CalibrationCost:
    """What a calibration will compute, in evaluations of the network for one sample.

    Attributes:
        record: evaluations for the plain runs.
        fit: evaluations for the closed-loop fits, at most.
    """

    record: int
    fit: int

    @classmethod
    def of(
        cls, prompts: Sequence[int], steps: int, targets: Sequence[FitTarget], tries: int
    ) -> CalibrationCost:
        """The cost of so many prompts at each size, of trajectories of so many steps.

        Schedules are searched for at the first size and fitted, twice, at all.
        """
        fits = sum(2 * each.count for each in targets)
        searches = sum(tries * each.count for each in targets if each.computed is None)
        return cls(sum(prompts) * steps, sum(prompts) * fits + prompts[0] * searches)

    @property
    def total(self) -> int:
        """Evaluations of both."""
        return self.record + self.fit
