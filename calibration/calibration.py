"""Calibration: what was learned of a model, in one small file that serves every speed."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any, Literal

import numpy as np

from forecastcache._util.deprecation import renamed_argument
from forecastcache.calibration import hub, schedule_dp
from forecastcache.calibration.calibrated import Calibrated, OnMismatch
from forecastcache.calibration.fits import Fit, SizeFits, decibels
from forecastcache.calibration.gram import RIDGE, open_loop_rows
from forecastcache.calibration.identity import Identity
from forecastcache.calibration.interpolate import Interpolated
from forecastcache.calibration.io import Header, read_file, write_file
from forecastcache.calibration.recording import Recording
from forecastcache.calibration.schedule_search import evenly
from forecastcache.calibration.simulation import Simulated, simulate
from forecastcache.errors import CalibrationError
from forecastcache.predictor import LinearPredictor
from forecastcache.predictors.explanation import Explanation, explain
from forecastcache.predictors.learned import Learned
from forecastcache.predictors.reuse import Reuse
from forecastcache.predictors.row import Row
from forecastcache.schedule import Listed, Schedule
from forecastcache.step import Step

Loop = Literal["open", "simulated", "closed"]


@dataclass(frozen=True)
class Offer:
    """A schedule with its rows, and how near to the plain run they are expected to end.

    Attributes:
        computed: computed steps.
        loop: loop in which the rows were fitted.
        psnr_db: PSNR of the final latents to the plain run's in dB. In closed loop it was
            measured; else it is what the Gram matrix foretells, which is a little too good.
    """

    computed: tuple[int, ...]
    loop: Loop
    psnr_db: float


@dataclass(frozen=True)
class Calibration:
    """What plain and accelerated runs of some fifty prompts have taught of a model.

    Attributes:
        identity: model, scheduler, steps and guidance that were calibrated.
        sizes: the fits of each size, first the one that schedules were searched at.
        versions: versions of the libraries that it was made with.
    """

    identity: Identity
    sizes: tuple[SizeFits, ...]
    versions: dict[str, str]

    @property
    def recording(self) -> Recording:
        """The recording of the first size."""
        return self.sizes[0].recording

    @property
    def fits(self) -> tuple[Fit, ...]:
        """The closed-loop fits that all sizes have, as the first has them; fewest steps first."""
        first, *others = self.sizes
        shared = [fit for fit in first.fits if all(size.fit(fit.computed) for size in others)]
        return tuple(sorted(shared, key=lambda fit: (len(fit.computed), -fit.psnr_db)))

    def predictor(
        self, schedule: Schedule, loop: Loop = "closed", depth: int | None = None
    ) -> Learned | Interpolated:
        """The rows for `schedule`; of several sizes, mixed as the run's step times ask.

        Args:
            schedule: a schedule that knows its steps beforehand.
            loop: `closed` for rows that were fitted where the accelerated sampler goes, if the
                file has them for this schedule; `simulated` for rows of a closed loop that is
                foretold here and now; `open` for those of least squares on plain runs (L2P).
            depth: number of newest computed steps that open-loop rows read; None for all.

        Raises:
            CalibrationError: the file has no closed-loop rows for this schedule, or a loop is to
                be simulated of a sampler that is not of first order.
        """
        computed = schedule.computed(self.recording.steps)
        rising = sorted(self.sizes, key=lambda size: float(size.recording.times.sum()))
        rows = [self._rows(size, computed, loop, depth) for size in rising]
        times = [tuple(size.recording.times.tolist()) for size in rising]
        if len(rows) == 1:
            return Learned(rows[0], times[0])
        return Interpolated(fits=tuple(Learned(each) for each in rows), times=tuple(times))

    def _rows(
        self, size: SizeFits, computed: tuple[int, ...], loop: Loop, depth: int | None
    ) -> tuple[Row, ...]:
        if loop == "open":
            return open_loop_rows(size.recording.gram, computed, depth, RIDGE)
        if loop == "simulated":
            return self._simulated(size, computed).rows
        fit = size.fit(computed)
        if fit is None:
            known = "; ".join(" ".join(map(str, fit.computed)) for fit in self.fits) or "none"
            raise CalibrationError(
                f"no closed-loop rows for the steps {' '.join(map(str, computed))} (there are "
                f"{known}): calibrate with --schedule {','.join(map(str, computed))}, or take "
                "loop='simulated'"
            )
        return fit.rows

    def _simulated(self, size: SizeFits, computed: tuple[int, ...]) -> Simulated:
        motion = size.recording.motion
        motion.require_first_order(self.identity.scheduler.name)
        return simulate(size.recording.gram / size.recording.elements, motion, computed)

    def schedule(self, count: int) -> Listed:
        """The schedule of `count` computed steps.

        The best of the closed-loop fits; where there is none, steps spread evenly up to the one
        at which the simulated loop ends nearest. For a sampler that is not of first order, the
        steps at which open-loop rows cost least.

        Raises:
            CalibrationError: a trajectory cannot have so many computed steps.
        """
        schedule_dp.require_count(count, self.recording.steps)
        of_that_many = [fit for fit in self.fits if len(fit.computed) == count]
        if of_that_many:
            return Listed(max(of_that_many, key=lambda fit: fit.psnr_db).computed)
        if self.recording.motion.first_order:
            return Listed(self._evenly(count)[0])
        return Listed(schedule_dp.cheapest_steps(self.recording.gram, self._weight, count))

    def _evenly(self, count: int) -> tuple[tuple[int, ...], float]:
        """The best of the schedules spread evenly, and its error, as simulated."""
        total = self.recording.steps
        # Not the very last step: it moves the sample little, and its answer is the least foreseen.
        latest = range(max(count - 1, total - 1 - total // count), max(total - 1, count))
        spread = {evenly(count, total, last) for last in latest}
        errors = {steps: self._simulated(self.sizes[0], steps).error for steps in spread}
        best = min(errors, key=lambda steps: (errors[steps], steps))
        return best, errors[best]

    @renamed_argument("computed", "count", since="0.2")
    def choose(
        self, count: int, on_mismatch: OnMismatch = "raise"
    ) -> tuple[Listed, LinearPredictor]:
        """Schedule and predictor for `count` computed steps: `fc.attach(pipe, *cal.choose(9))`.

        Args:
            count: number of computed steps.
            on_mismatch: what becomes of a run by another model, scheduler or guidance scale than
                was calibrated: `raise`, `warn`, or `taylor` to forecast with Taylor of order 1.

        Raises:
            CalibrationError: a trajectory cannot have so many computed steps.
        """
        schedule, loop = self.schedule(count), self._loop(count)
        if count == self.recording.steps:  # of which no step is left to forecast
            return schedule, Reuse()
        learned = self.predictor(schedule, loop)
        return schedule, Calibrated(
            learned=learned, identity=self.identity, on_mismatch=on_mismatch
        )

    def _loop(self, count: int) -> Loop:
        """The loop whose rows serve so many computed steps best."""
        if any(len(fit.computed) == count for fit in self.fits):
            return "closed"
        return "simulated" if self.recording.motion.first_order else "open"

    def explanations(self, count: int) -> list[Explanation]:
        """What each row of `choose(count)` does, at the first size.

        Raises:
            CalibrationError: a trajectory cannot have so many computed steps.
        """
        schedule, _ = self.choose(count)
        times = self.recording.times.tolist()
        alone = replace(self, sizes=self.sizes[:1])
        _, predictor = alone.choose(count)
        steps = [Step(index, times[index]) for index in schedule.steps]
        targets = sorted(set(range(len(times))) - set(schedule.steps))
        return [
            explain(
                predictor,
                [step for step in steps if step.index < target],
                Step(target, times[target]),
            )
            for target in targets
        ]

    def figures(self) -> dict[str, Any]:
        """What it is of and what it holds, ready for JSON."""
        return {
            **self._header.model_dump(exclude={"sizes"}),
            "sizes": [size.name for size in self.sizes],
            "prompts": sum(size.recording.prompts for size in self.sizes),
            "sampler_missed": max(size.recording.motion.missed for size in self.sizes),
            "fits": [fit.model_dump(exclude={"rows"}) for fit in self.fits],
        }

    def frontier(self) -> tuple[Offer, ...]:
        """What there is to choose from, fewest computed steps first; figures of the first size."""
        return self._frontier

    @cached_property
    def _frontier(self) -> tuple[Offer, ...]:
        weight, gram = self._weight, self.recording.gram
        offers = [Offer(fit.computed, "closed", fit.psnr_db) for fit in self.fits]
        for computed, cost in schedule_dp.cheapest_with_costs(gram, weight, self.recording.steps):
            offers.append(Offer(computed, "open", decibels(cost / self.recording.elements)))
        if self.recording.motion.first_order:
            for count in range(1, self.recording.steps + 1):
                computed, error = self._evenly(count)
                offers.append(Offer(computed, "simulated", decibels(error)))
        return tuple(sorted(offers, key=lambda it: (len(it.computed), it.loop)))

    def offers(self) -> tuple[Offer, ...]:
        """The offers of the frontier that `choose` gives, one for each count of computed steps."""
        best: dict[int, Offer] = {}
        for offer in self.frontier():
            count = len(offer.computed)
            if offer.loop == self._loop(count):
                best[count] = max(offer, best.get(count, offer), key=lambda it: it.psnr_db)
        return tuple(best.values())

    @property
    def _weight(self) -> np.ndarray:
        motion = self.recording.motion
        return schedule_dp.sensitivities(motion.keep, motion.move)

    def with_fits(self, fits: Sequence[Fit], size: int = 0) -> Calibration:
        """The same with more closed-loop fits; a new fit replaces an old one of the same steps."""
        old = self.sizes[size]
        new = {fit.computed: fit for fit in (*old.fits, *fits)}
        sizes = list(self.sizes)
        sizes[size] = replace(old, fits=tuple(new.values()))
        return replace(self, sizes=tuple(sizes))

    @property
    def _header(self) -> Header:
        return Header.of(self.identity, self.versions, self.sizes)

    def save(self, path: str | Path) -> None:
        """Write one safetensors file, in full or not at all.

        Raises:
            CalibrationError: it cannot be written.
        """
        write_file(Path(path), self._header, self.sizes)

    def push_to_hub(self, repo: str, private: bool = False) -> str:
        """Publish it as `repo`, with a card that says what it is of; gives the address.

        Args:
            repo: repository as user or organisation and name, such as "me/flux-dev-forecast"; it
                is made if need be.
            private: whether the repository is private.

        Raises:
            CalibrationError: the hub refuses, or is not to be reached.
        """
        return hub.push(self, repo, private)

    @classmethod
    def load(cls, source: str | Path) -> Calibration:
        """Read a file that `save` wrote, from disk, from the hub, or beside a zoo model.

        Args:
            source: a path, a hub id such as "me/flux-dev-forecast", or zoo:NAME.

        Raises:
            CalibrationError: there is none, or it is truncated, foreign or of a newer version.
        """
        header, sizes = read_file(hub.find(source))
        return cls(header.identity, sizes, header.versions)
