"""Targets: the schedules that a calibration is to fit, and what that costs."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, replace

from forecastcache.bounds import whole_number
from forecastcache.calibration.refine import ROLLS, most_evaluations
from forecastcache.calibration.schedule_dp import require_count
from forecastcache.errors import CalibrationError
from forecastcache.schedule import Schedule
from forecastcache.spec import parse_schedule

COUNTS = range(4, 19)  # computed steps that are searched for where nothing is asked
TRIES = 24  # schedules that a search looks at
PLAIN_RUNS = 120  # of every sample, as many evaluations as a calibration takes at most
FOLDS = 4  # of the samples: rows fitted to the others are judged by each in turn
FIT_ROLLS = 2 + FOLDS  # of all samples, without each fold, and what a roll spares


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

    @classmethod
    def usual(cls, total: int) -> list[FitTarget]:
        """What is fitted where nothing is asked: searches for 4 to 18 computed steps."""
        return [cls(count) for count in COUNTS if count < total]


@dataclass(frozen=True)
class Effort:
    """How much a calibration computes, in evaluations of the network for one sample each.

    Attributes:
        samples: number of samples of each size.
        steps: number of steps of a trajectory.
        targets: schedules to fit: searches by rising count, then those that are listed.
        tries: number of schedules that a search looks at.
        refined: how many of the targets, the first ones, have their rows refined together.
    """

    samples: tuple[int, ...]
    steps: int
    targets: tuple[FitTarget, ...]
    tries: int
    refined: int

    @classmethod
    def within(
        cls,
        samples: Sequence[int],
        steps: int,
        targets: Sequence[FitTarget],
        tries: int = TRIES,
        refine: bool = True,
        bound: int | None = None,
    ) -> Effort:
        """As much as a bound allows: rows are refined for few steps first, then fewer tries made.

        Args:
            samples: number of samples of each size.
            steps: number of steps of a trajectory.
            targets: schedules to fit.
            tries: number of schedules that a search looks at, at most.
            refine: whether rows are refined.
            bound: most evaluations; None for 120 plain runs of every sample.

        Raises:
            CalibrationError: the bound is below what a calibration takes at least.
        """
        ordered = tuple(sorted(targets, key=lambda it: (it.computed or (), it.count)))
        bound = PLAIN_RUNS * steps * sum(samples) if bound is None else bound
        effort = cls(tuple(samples), steps, ordered, tries, len(ordered) if refine else 0)
        while effort.total > bound and effort.refined:
            effort = replace(effort, refined=effort.refined - 1)
        while effort.total > bound and effort.tries > 1:
            effort = replace(effort, tries=effort.tries - 1)
        if effort.total > bound:
            raise CalibrationError(
                f"this takes {effort.total:,} evaluations of the network at least, but "
                f"--evaluations allows {bound:,}: allow more, or ask for fewer --schedule or "
                "--count"
            )
        return effort

    @property
    def record(self) -> int:
        """Evaluations for the plain runs."""
        return sum(self.samples) * self.steps

    @property
    def search(self) -> int:
        """Evaluations for the searches, made at the first size, at most."""
        searched = sum(each.count for each in self.targets if each.computed is None)
        return self.samples[0] * self.tries * searched

    @property
    def fit(self) -> int:
        """Evaluations for the fits and what judges them."""
        return sum(self.samples) * FIT_ROLLS * sum(each.count for each in self.targets)

    @property
    def refine(self) -> int:
        """Evaluations for the refinements, at most."""
        refined = self.targets[: self.refined]
        return sum(self.samples) * sum(refinement(it.count, self.steps) for it in refined)

    @property
    def total(self) -> int:
        """Evaluations of all, at most."""
        return self.record + self.search + self.fit + self.refine

    @property
    def note(self) -> dict[str, str]:
        """What every process that shares the work must have been asked for."""
        return {
            "schedules": ";".join(map(str, self.targets)),
            "tries": str(self.tries),
            "refine": str(self.refined),
        }

    @property
    def plain_runs(self) -> float:
        """As many plain runs of every sample take as many evaluations."""
        return self.total / self.record


def refinement(count: int, total: int) -> int:
    """Steps that the network computes, at most, to refine `count` of `total`, for each sample."""
    return most_evaluations(count, total) + (ROLLS + FOLDS) * count
