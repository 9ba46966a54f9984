"""Bounded fits: what a goal asks for, with no more evaluations of the network than it may take."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from forecastcache._util.progress import Progress
from forecastcache.accelerated.goal import Goal
from forecastcache.calibration.fit import SizeFitter
from forecastcache.calibration.fits import Fit
from forecastcache.calibration.schedule_search import Steps
from forecastcache.calibration.targets import refinement
from forecastcache.errors import CalibrationError
from forecastcache.schedule import Schedule

REFINED = 0.5  # share of what there is that a refinement may take
FEW = 3  # schedules to try at one count, where others may have to be tried


@dataclass(frozen=True)
class BoundedFits:
    """Searches and fits within a bound.

    Attributes:
        fitter: what searches and fits.
        bound: most steps that the network computes, for each sample.
        progress: called with (stage, done, of).
    """

    fitter: SizeFitter
    bound: float
    progress: Progress

    @property
    def samples(self) -> int:
        """Number of samples."""
        return len(self.fitter.numbers)

    @property
    def left(self) -> float:
        """Steps that the network may still compute, for each sample."""
        return self.bound - self.fitter.rolls.evaluations / self.samples

    def of(self, goal: Goal, before: Sequence[Fit]) -> list[Fit]:
        """What a goal asks for, and what was fitted before.

        Raises:
            CalibrationError: the bound does not allow a single schedule.
        """
        if goal.schedule is not None:
            return [*before, self._of_steps(goal.schedule)]
        fits = {len(fit.computed): fit for fit in sorted(before, key=lambda fit: fit.figure)}
        nearby: Mapping[Steps, float] = {}
        while (count := goal.next_count(fits, self._total)) is not None:
            refine = goal.psnr is None and self._can_refine(count)
            room = self.left - self._judging(count, refine)
            # For other counts, where a nearness is asked; else for a look at fewer steps.
            spare = count if goal.psnr is None else min(room / 2, room - FEW * count)
            room -= max(0.0, min(spare, room - count))
            errors = self._searched(count, room, list(fits.values()), nearby)
            if not errors:
                if fits:
                    break
                raise self._too_dear(count)
            best = min(errors, key=lambda steps: (errors[steps], steps))
            fits[count] = self.fitter.fit(best, refine, self.progress)
            nearby = errors
        return list(fits.values())

    def _of_steps(self, schedule: Schedule) -> Fit:
        computed = schedule.computed(self._total)
        count = len(computed)
        if count + self._judging(count) > self.left:
            raise self._too_dear(count)
        stage = f"fitting {count}"
        self.progress(stage, 0, 1)
        found = self.fitter.fit(computed, self._can_refine(count), self.progress)
        self.progress(stage, 1, 1)
        return found

    def _searched(
        self, count: int, room: float, fits: Sequence[Fit], nearby: Mapping[Steps, float]
    ) -> Mapping[Steps, float]:
        """Errors of the schedules that there is room for.

        What tries have in common is computed once, which leaves room for more of them.
        """
        errors: dict[Steps, float] = {}
        rolls, each = self.fitter.rolls, count * self.samples
        bound = rolls.evaluations + room * self.samples
        while (more := int((bound - rolls.evaluations) // each)) > 0:
            tries = len(errors) + more
            self.fitter.search(
                count, tries, fits, nearby, errors, errors.__setitem__, self.progress, bound
            )
            if len(errors) < tries:
                break
        return errors

    @property
    def _total(self) -> int:
        return self.fitter.recording.steps

    def _can_refine(self, count: int) -> bool:
        return refinement(count, self._total) <= REFINED * self.left

    def _judging(self, count: int, refine: bool = False) -> int:
        """Steps that are computed after the search, for each sample."""
        return self.fitter.folds * count + (refinement(count, self._total) if refine else 0)

    def _too_dear(self, count: int) -> CalibrationError:
        least = (count + self._judging(count)) / self._total
        return CalibrationError(
            f"a fit of {count} of {self._total} steps takes {least:.1f} plain runs at least: "
            "allow as many by fit_cost, or compute fewer steps"
        )
