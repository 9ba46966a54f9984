"""Wanted: the schedules that a calibration is to fit, and what that costs."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass

from forecastcache.calibration.planner import require_count
from forecastcache.errors import CalibrationError
from forecastcache.schedule import Every, Listed

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
            CalibrationError: it is none of these.
            ScheduleError: it does not fit the trajectory.
        """
        if match := re.fullmatch(r"search:(\d+)", text):
            require_count(int(match[1]), total)
            return cls(int(match[1]))
        if match := re.fullmatch(r"every:([1-9]\d*)(?:,first=([1-9]\d*))?", text):
            steps = Every(int(match[1]), int(match[2] or 3)).computed(total)
        elif re.fullmatch(r"\d+(,\d+)*", text):
            steps = Listed(map(int, text.split(","))).computed(total)
        else:
            raise CalibrationError(
                f"--schedule {text} is no schedule: write every:7, a list such as 0,6,12,18, or "
                "search:9"
            )
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
