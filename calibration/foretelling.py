"""Foretelling: what schedules that were not rolled are expected to give."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cached_property

import numpy as np

from forecastcache.calibration import schedule_dp
from forecastcache.calibration.fits import Fit, decibels
from forecastcache.calibration.offers import Offer, band
from forecastcache.calibration.recording import Recording
from forecastcache.calibration.schedule_search import evenly
from forecastcache.calibration.simulation import Simulated, simulate


class Foretelling:
    """Plans schedules from a recording alone, and learns from rolls how far out its figures are.

    Args:
        recording: sums over plain runs.
        fits: schedules that were rolled.
    """

    def __init__(self, recording: Recording, fits: Sequence[Fit]) -> None:
        self._recording = recording
        self._fits = tuple(fits)
        self._simulations: dict[int, Offer] = {}

    @property
    def simulates(self) -> bool:
        """Whether simulated rows are offered: guidance outside the network has no known answer."""
        return self._recording.motion.first_order and not self._recording.guided_outside

    def offers(self, counts: Sequence[int]) -> list[Offer]:
        """What is foretold of so many computed steps each, by the loop that may be offered."""
        if self.simulates:
            return [self.in_simulation(count) for count in counts]
        planned = self.in_open_loop(max(counts, default=0))
        return [planned[count - 1] for count in counts]

    def in_simulation(self, count: int) -> Offer:
        """The schedule spread evenly that ends nearest in the simulated loop."""
        if count not in self._simulations:
            self._simulations[count] = self._simulate_evenly(count)
        return self._simulations[count]

    def _simulate_evenly(self, count: int) -> Offer:
        total = self._recording.steps
        # Not the very last step: it moves the sample little, and its answer is the least foreseen.
        latest = range(max(count - 1, total - 1 - total // count), max(total - 1, count))
        spread = {evenly(count, total, last) for last in latest}
        errors = {steps: self._simulated(steps).error for steps in spread}
        best = min(errors, key=lambda steps: (errors[steps], steps))
        foretold = decibels(errors[best])
        return Offer(best, "simulated", None, foretold, band(foretold, self._gaps))

    def in_open_loop(self, most: int) -> list[Offer]:
        """Offers of 1 to `most` computed steps; no roll tells how far these figures are out."""
        gram = self._recording.gram / self._recording.elements
        planned = schedule_dp.cheapest_with_costs(gram, self._weight, most)
        return [Offer(computed, "open", None, decibels(error)) for computed, error in planned]

    @cached_property
    def _gaps(self) -> list[float]:
        """Rolled PSNR less the simulated one, in dB, of each schedule that was rolled."""
        errors = [self._simulated(fit.computed).error for fit in self._fits]
        return [fit.latent_psnr_db - decibels(error) for fit, error in zip(self._fits, errors)]

    def _simulated(self, computed: tuple[int, ...]) -> Simulated:
        recording = self._recording
        return simulate(recording.gram / recording.elements, recording.motion, computed)

    @property
    def _weight(self) -> np.ndarray:
        motion = self._recording.motion
        return schedule_dp.sensitivities(motion.keep, motion.move)
