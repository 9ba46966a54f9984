"""Work: the fits of a calibration, each made now or before."""

from __future__ import annotations

import logging
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field

from forecastcache._util.fingerprint import digest
from forecastcache._util.progress import Progress
from forecastcache.calibration.distributed import ProcessGroup
from forecastcache.calibration.fit import SizeFitter
from forecastcache.calibration.fits import Fit
from forecastcache.calibration.part_files import Parts
from forecastcache.calibration.schedule_search import Steps
from forecastcache.calibration.targets import Effort, FitTarget

logger = logging.getLogger("forecastcache")


@dataclass
class Work:
    """Searches and fits the schedules of one calibration: searches first, by rising count.

    A search begins near what was found for fewer steps. What was searched and fitted before, by a
    calibration that was killed, is read.

    Attributes:
        fitters: fitter of each size.
        effort: what is to be fitted, and how thoroughly.
        kept: folder of what was done.
        group: processes that share the work.
        progress: called with (stage, done, of).
    """

    fitters: Sequence[SizeFitter]
    effort: Effort
    kept: Parts
    group: ProcessGroup
    progress: Progress
    _done: list[Fit] = field(default_factory=list)
    _nearby: Mapping[Steps, float] = field(default_factory=dict)

    def fits(self) -> Iterator[list[Fit]]:
        """The fits of each schedule, one for each size."""
        for number, target in enumerate(self.effort.targets):
            fits = self._fits(target, refine=number < self.effort.refined)
            self._done.append(fits[0])
            yield fits

    def _fits(self, target: FitTarget, refine: bool) -> list[Fit]:
        name = f"fit-{digest(f'{target} {self.effort.tries} {refine}')}.json"
        known = self.group.from_main(lambda: self.kept.read(name))
        if known is not None:
            logger.info("calibration: %s was fitted before", target)
            self._nearby = self._searched(target.count) or self._nearby
            return [Fit.model_validate(fit) for fit in known]
        spent = self.fitters[0].rolls.evaluations
        computed = target.computed or self._search(target.count)
        searched = self.fitters[0].rolls.evaluations - spent
        fits = [fitter.fit(computed, refine, self.progress) for fitter in self.fitters]
        every = fits[0].evaluations + sum(self.group.gather(searched))
        fits[0] = fits[0].model_copy(update={"evaluations": every})
        if self.group.is_main:
            self.kept.write(name, [fit.model_dump() for fit in fits])
        return fits

    def checked(self) -> list[Fit]:
        """The fits of the first size, with what would have been offered in place of each count."""
        return [self._checked(fit) for fit in self._done]

    def _checked(self, fit: Fit) -> Fit:
        if len(fit.rows) == 0:
            return fit
        name = f"check-{digest(str(fit.computed))}.json"
        known = self.group.from_main(lambda: self.kept.read(name))
        if known is None:
            fitter = self.fitters[0]
            spent = fitter.rolls.evaluations
            gap = fitter.unrolled_gap(self._done, len(fit.computed))
            known = [gap, sum(self.group.gather(fitter.rolls.evaluations - spent))]
            if self.group.is_main:
                self.kept.write(name, known)
        gap, spent = known
        return fit.model_copy(
            update={"unrolled_gap_db": gap, "evaluations": fit.evaluations + spent}
        )

    def _search(self, count: int) -> Steps:
        """The steps that a search finds; what was tried before is not rolled again."""
        errors = self._searched(count)

        def keep(computed: Steps, error: float) -> None:
            errors[computed] = error
            if self.group.is_main:
                self.kept.write(_searched_name(count), list(errors.items()))

        tries, nearby = self.effort.tries, self._nearby
        found = self.fitters[0].search(
            count, tries, self._done, nearby, dict(errors), keep, self.progress
        )
        self._nearby = errors
        return found.computed

    def _searched(self, count: int) -> dict[Steps, float]:
        known = self.group.from_main(lambda: self.kept.read(_searched_name(count))) or []
        return {tuple(computed): error for computed, error in known}


def _searched_name(count: int) -> str:
    return f"search-{count}.json"
