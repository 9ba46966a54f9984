"""Wanted: the schedules that a calibration is to fit, and what that costs."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass

from forecastcache.calibration.planner import require_count
from forecastcache.spec import parse_schedule

FEWEST = 2  # prompts


@dataclass(frozen=True)
class Wanted:
    """A schedule to be fitted in closed loop.

    Attributes:
        count: of computed steps.
        computed: the steps; None if they are to be searched for.
    """

    count: int
    computed: tuple[int, ...] | None = None

    def __str__(self) -> str:
        return (
            f"search:{self.count}" if self.computed is None else ",".join(map(str, self.computed))
        )

    @classmethod
    def parse(cls, text: str, total: int) -> Wanted:
        """From `every:7`, `every:7,first=3`, `0,6,12` or `search:9`, over `total` steps.

        Raises:
            CalibrationError: a search for more steps than there are, or none.
            ScheduleError: it is none of these, or does not fit the trajectory.
        """
        if match := re.fullmatch(r"search:(\d+)", text):
            require_count(int(match[1]), total)
            return cls(int(match[1]))
        steps = parse_schedule(text, "search:9").computed(total)
        return cls(len(steps), steps)


@dataclass(frozen=True)
class Cost:
    """What a calibration will compute, in evaluations of the network for one sample.

    Attributes:
        record: for the plain runs.
        fit: for the closed-loop fits, at most.
    """

    record: int
    fit: int

    @classmethod
    def of(cls, prompts: Sequence[int], steps: int, wanted: Sequence[Wanted], tries: int) -> Cost:
        """Of so many prompts at each size, of trajectories of so many steps.

        Schedules are searched for at the first size and fitted, twice, at all.
        """
        fits = sum(2 * each.count for each in wanted)
        searches = sum(tries * each.count for each in wanted if each.computed is None)
        return cls(sum(prompts) * steps, sum(prompts) * fits + prompts[0] * searches)

    @property
    def total(self) -> int:
        """Of both."""
        return self.record + self.fit
