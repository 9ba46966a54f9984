"""Foretelling: what schedules that were not rolled are expected to give."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
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
        known = self._response is not None or not recording.guided_outside
        return recording.motion.first_order and known

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
        best = self._best_by_count
        if not best:
            steps = self._best_of(FEW, count)
            return Offer(steps, "simulated", None, decibels(self.simulated(steps).error))
        near = min(best, key=lambda it: (abs(it - count), it))
        steps = resampled(best[near].computed, count, self._recording.steps)
        foretold = self._figure(count, decibels(self.simulated(steps).error), best)
        between = min(best) < count < max(best)
        return Offer(steps, "simulated", None, foretold, band(foretold, self._missed), between)

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
        planned = schedule_dp.cheapest_with_costs(gram, self._weight, most)
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

    def _gap(self, fit: Fit) -> float:
        """Rolled PSNR less the simulated one, in dB."""
        return fit.figure - decibels(self.simulated(fit.computed).error)

    @cached_property
    def _gaps(self) -> dict[int, float]:
        return {count: self._gap(fit) for count, fit in self._best_by_count.items()}

    def _figure(self, count: int, simulated: float, known: Iterable[int]) -> float:
        """What a simulated PSNR comes to, by how far others of `known` counts were out."""
        counts = sorted(known)
        gaps = [self._gaps[it] for it in counts]
        return simulated + float(np.interp(math.log(count), np.log(counts), gaps))

    @cached_property
    def _missed(self) -> list[float]:
        """Rolled PSNR less what the other counts foretell of it, in dB, of each count."""
        missed = []
        for count, fit in self._best_by_count.items():
            others = [it for it in self._best_by_count if it != count]
            if others:
                simulated = fit.figure - self._gaps[count]
                missed.append(fit.figure - self._figure(count, simulated, others))
        return missed

    @property
    def _weight(self) -> np.ndarray:
        motion = self._recording.motion
        return schedule_dp.sensitivities(motion.keep, motion.move)
