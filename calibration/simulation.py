"""Simulation: the closed loop foretold from the Gram matrix, without the model.

In closed loop a forecast that misses moves the sample away from the plain trajectory, and at the
next computed step the network answers to that. Let it answer as if its idea of the clean picture
hardly changed: a displacement d of the sample at noise level sigma moves the answer by
rho d / sigma, and by something unforeseeable of length tau |d| / sigma. Rho and tau are read off
schedules that were rolled, where there are any. Then every inner product
that a closed-loop fit needs follows from those of the plain trajectories, and the rows of any
schedule, with the error they end at, from numbers a file holds already.

The noise levels follow from the sampler x_{s+1} = a_s x_s + b_s g_s itself: the displacement that
an unchanged idea of the picture carries to zero shrinks by sigma_{s+1} / sigma_s = a_s + b_s /
sigma_s in every step, and sigma ends at 0.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from forecastcache.calibration.fits import Fit
from forecastcache.calibration.gram import RIDGE, least_weights
from forecastcache.calibration.sampler import Motion
from forecastcache.predictors.row import Row


@dataclass(frozen=True)
class Response:
    """How the network answers to a displaced sample, step by step.

    Attributes:
        rho: part of the displacement that it takes for noise, `(T,)`.
        tau: length of what else its answer moves by, as a part of the displacement, `(T,)`.
    """

    rho: np.ndarray
    tau: np.ndarray

    @classmethod
    def usual(cls, steps: int) -> Response:
        """What was found on models without guidance outside the network."""
        return cls(np.full(steps, 0.8), np.full(steps, 0.2))

    @classmethod
    def measured(cls, fits: Sequence[Fit], motion: Motion) -> Response | None:
        """The mean of what was seen in the rolls of fits, interpolated; None if nothing was."""
        levels = noise_levels(motion)
        seen: dict[int, list[tuple[float, float]]] = {}
        for fit in fits:
            for step, (moved, along, answer) in zip(fit.computed, fit.response):
                if moved > 0 and levels[step] > 0:
                    rho = along / moved
                    rest = max(answer / moved - rho**2, 0.0) ** 0.5
                    seen.setdefault(step, []).append((rho * levels[step], rest * levels[step]))
        if not seen:
            return None
        steps = sorted(seen)
        rho, tau = np.array([np.mean(seen[step], axis=0) for step in steps]).T
        every = np.arange(len(levels))
        return cls(np.interp(every, steps, rho), np.interp(every, steps, tau))


@dataclass(frozen=True)
class Simulated:
    """What the simulation of one schedule came to.

    Attributes:
        computed: computed steps.
        weights: weights of the computed steps before each forecast step.
        error: foretold squared distance of the final samples from the plain ones, for one element
            of a sample.
    """

    computed: tuple[int, ...]
    weights: Mapping[int, np.ndarray]
    error: float

    @property
    def rows(self) -> tuple[Row, ...]:
        """One row for each forecast step; checked as they are made, which takes a while."""
        return tuple(
            Row(target=step, computed=self.computed[: len(row)], weights=tuple(row.tolist()))
            for step, row in self.weights.items()
        )


def noise_levels(motion: Motion) -> np.ndarray:
    """Sigma of every step, `(T,)`, from how the sampler moves."""
    levels = np.zeros(len(motion.keep) + 1)
    for step in reversed(range(len(motion.keep))):
        levels[step] = (levels[step + 1] - motion.move[step, 0]) / motion.keep[step, 0]
    return levels[:-1]


def simulate(
    gram: np.ndarray,
    motion: Motion,
    computed: Sequence[int],
    response: Response | None = None,
    ridge: float = RIDGE,
) -> Simulated:
    """The closed-loop rows of a schedule, foretold.

    Args:
        gram: Gram matrix of the plain trajectories' guided outputs, `(T, T)`, for one element of
            a sample.
        motion: motion of the sampler, of first order.
        computed: computed steps, rising from 0.
        response: response of the network to a displaced sample; None for the usual one.
        ridge: ridge as a part of the mean diagonal.
    """
    total, count = len(gram), len(computed)
    response = response or Response.usual(total)
    levels = noise_levels(motion)
    # Features and displacements are combinations of the plain outputs and, for each computed
    # step, of what could not be foreseen of its answer.
    products = np.zeros((total + count, total + count))
    products[:total, :total] = gram
    plain = np.eye(total + count)[:total]
    away = np.zeros(total + count)
    known = np.zeros((count, total + count))
    normal = np.zeros((count, count))  # inner products of the known answers
    seen = 0
    rows: dict[int, np.ndarray] = {}
    for step in range(total):
        keep, move = motion.keep[step, 0], motion.move[step, 0]
        if step in computed:
            unforeseen = np.zeros(total + count)
            unforeseen[total + seen] = 1.0
            size = (response.tau[step] / levels[step]) ** 2 * (away @ products @ away)
            products[total + seen, total + seen] = size
            answer = plain[step] + response.rho[step] / levels[step] * away + unforeseen
            known[seen] = answer
            normal[seen, : seen + 1] = known[: seen + 1] @ (products @ answer)
            normal[: seen + 1, seen] = normal[seen, : seen + 1]
            seen += 1
        else:
            past = known[:seen]
            aim = plain[step] - keep / move * away
            weights = least_weights(normal[:seen, :seen], past @ (products @ aim), ridge)
            answer = weights @ past
            rows[step] = weights
        away = keep * away + move * (answer - plain[step])
    return Simulated(tuple(computed), rows, float(away @ products @ away))
