"""Foretelling: what schedules that were not rolled are expected to give."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from functools import cached_property

import numpy as np

from forecastcache.calibration import schedule_dp
from forecastcache.calibration.fits import Fit, decibels
from forecastcache.calibration.offers import Offer, band
from forecastcache.calibration.recording import Recording
from forecastcache.calibration.schedule_search import GRID, Steps, Warp, climb, resampled
from forecastcache.calibration.simulation import Response, Simulated, simulate

CLIMB = 100  # schedules that are simulated around the best warp
FEW = tuple(Warp(1.1, 1.3, last) for last in range(3))  # where nothing was rolled


class Foretelling:
    """Plans schedules from a recording, and learns from what was rolled how far that holds.

    Args:
        recording: sums over plain runs.
        fits: schedules that were rolled.
    """

    def __init__(self, recording: Recording, fits: Sequence[Fit]) -> None:
        self._recording = recording
        self._fits = tuple(fits)
        self._offers: dict[int, Offer] = {}

    @property
    def simulates(self) -> bool:
        """Whether rows of the simulated loop are offered.

        Guidance outside the network has an answer to displaced samples of its own: there they are
        offered only once it was measured.
        """
        recording = self._recording
        if not recording.motion.first_order:
            return False
        return self._response is not None or not recording.guided_outside

    @property
    def rolled(self) -> bool:
        """Whether anything was rolled."""
        return bool(self._fits)

    def offers(self, counts: Sequence[int]) -> list[Offer]:
        """What is foretold of so many computed steps each, by the loop that may be offered."""
        if self.simulates:
            return [self.in_simulation(count) for count in counts]
        planned = self.in_open_loop(max(counts, default=0))
        return [planned[count - 1] for count in counts]

    def in_simulation(self, count: int) -> Offer:
        """Rows of the simulated loop at the steps of the nearest count that was rolled, stretched.

        Where none was, at those that end nearest in that loop.
        """
        if count not in self._offers:
            self._offers[count] = self._simulated_offer(count)
        return self._offers[count]

    def _simulated_offer(self, count: int) -> Offer:
        steps, rolled = self.unrolled(count), self._best_by_count
        foretold = decibels(self._error(steps))
        if self.gaps:
            foretold += interpolated(count, self.gaps)
        between = bool(rolled) and min(rolled) < count < max(rolled)
        return Offer(
            steps, "simulated", None, foretold, band(foretold, missed(self.gaps)), between
        )

    def unrolled(self, count: int) -> Steps:
        """The steps to offer of a count that was not rolled."""
        rolled = self._best_by_count
        if not rolled:
            return self._best_of(FEW, count)
        near = min(rolled, key=lambda it: (abs(it - count), it))
        return resampled(rolled[near].computed, count, self._recording.steps)

    def without(self, count: int) -> Foretelling:
        """The same as if no schedule of so many steps had been rolled."""
        others = [fit for fit in self._fits if len(fit.computed) != count]
        return Foretelling(self._recording, others)

    def nearest(self, count: int) -> Steps:
        """A schedule of `count` steps that ends near the plain run in the simulated loop."""
        start = self._best_of(GRID, count)
        return climb(self._error, start, self._recording.steps, CLIMB)

    def _best_of(self, warps: Sequence[Warp], count: int) -> Steps:
        spread = {warp.steps(count, self._recording.steps) for warp in warps}
        return min(sorted(spread), key=self._error)

    def _error(self, steps: Steps) -> float:
        return self.simulated(steps).error

    def simulated(self, computed: Sequence[int]) -> Simulated:
        """The simulated loop of a schedule, with the measured response where there is one."""
        recording = self._recording
        gram = recording.gram / recording.elements
        return simulate(gram, recording.motion, computed, self._response)

    def in_open_loop(self, most: int) -> list[Offer]:
        """Offers of 1 to `most` computed steps; no roll tells how far these figures are out."""
        gram = self._recording.gram / self._recording.elements
        weight = self._recording.motion.sensitivity
        planned = schedule_dp.cheapest_with_costs(gram, weight, most)
        return [Offer(computed, "open", None, decibels(error)) for computed, error in planned]

    @cached_property
    def _response(self) -> Response | None:
        return Response.measured(self._fits, self._recording.motion)

    @cached_property
    def _best_by_count(self) -> dict[int, Fit]:
        best: dict[int, Fit] = {}
        for fit in sorted(self._fits, key=lambda fit: fit.figure):
            best[len(fit.computed)] = fit
        return best

    @property
    def gaps(self) -> dict[int, float]:
        """What came of each count as if it had not been rolled, less what was simulated, in dB."""
        every = {count: fit.unrolled_gap_db for count, fit in self._best_by_count.items()}
        return {count: gap for count, gap in every.items() if gap is not None}


def interpolated(count: int, gaps: Mapping[int, float]) -> float:
    """The gap at a count, in dB, by those of other counts; beyond them that of the nearest."""
    counts = sorted(gaps)
    return float(np.interp(math.log(count), np.log(counts), [gaps[it] for it in counts]))


def missed(gaps: Mapping[int, float]) -> list[float]:
    """How far each gap is from what the others say of it, in dB."""
    if len(gaps) < 2:
        return []
    return [
        gap - interpolated(count, {it: gaps[it] for it in gaps if it != count})
        for count, gap in gaps.items()
    ]
