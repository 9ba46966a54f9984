"""Refinement: all rows of a schedule moved together, so that the samples end nearer.

In closed loop each row makes the best of its own step. Gauss-Newton makes the best of all: what
matters is where the forecasts f_s between two computed steps carry the samples to by the sampler's
own recursion,

    sum_s beta_s f_s,   beta_s the effect of one unit of g_s on the final samples,

so a gap has as many freedoms as outputs are known, and a shift of its landing is spread evenly
over its forecast steps. Along each freedom the samples are rolled on from the landing and seen to
end elsewhere; least squares then say how far to go. How far it may be trusted, the samples that
are left out in turn tell: by the linear model alone, at no further evaluation. A roll then tells
whether the model holds so far out; where it does not, damping grows.

Reference: Gauss-Newton with Levenberg's damping (Nocedal and Wright, 2006, chapter 10).
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from forecastcache.calibration.rolling import Rollout, Rolls
from forecastcache.predictors.row import Row

STEP = 3e-3  # by which a landing is shifted, in units of the final samples
LARGEST = 10.0  # times its own RMS that a shift may move an output by: else what it does is lost
LEAST = 1e-8  # share of the largest eigenvalue below which a direction is rounding
DAMPINGS = tuple(np.geomspace(1e-5, 100, 22).tolist())
ROLLS = 3  # of dampings, at most
HELD = 0.5  # share of the gain told by the linear model that a roll must confirm
WORTH = 0.05  # dB gained for certain on samples left out, below which nothing is changed
GROUPS = 64  # of samples that are left out in turn, at most: each by itself, where there are few


@dataclass(frozen=True)
class Freedom:
    """A way to shift one landing.

    Attributes:
        gap: number of the computed step that the gap begins at.
        steps: forecast steps of the gap.
        weights: what is added to each of their rows for a shift of one, `(gap + 1,)`.
    """

    gap: int
    steps: tuple[int, ...]
    weights: np.ndarray


def freedoms(rolls: Rolls, rolled: Rollout) -> list[Freedom]:
    """All ways to shift the landings of a roll, uncorrelated and of equal length in each gap."""
    total, beta = len(rolls.plain) - 1, rolls.motion.sensitivity
    found = []
    for gap, (begin, end) in enumerate(zip(rolled.computed, (*rolled.computed[1:], total))):
        steps = tuple(range(begin + 1, end))
        if not steps:
            continue
        carried = float(beta[list(steps)].sum())
        gram = _gram(rolls, rolled.guided[: gap + 1])
        if abs(carried) * LARGEST * float(gram[-1, -1]) ** 0.5 < STEP:
            continue  # noise and contraction leave nothing of these steps
        for direction in _directions(gram):
            found.append(Freedom(gap, steps, direction / carried))
    return found


def most_evaluations(count: int, total: int) -> int:
    """Steps that the network computes, at most, for one look at all freedoms of `count` steps.

    Each of a gap's freedoms is rolled on from the next computed step.
    """
    gaps = range(count if count < total else 0)
    return sum((gap + 1) * (count - 1 - gap) for gap in gaps)


def shifted(rows: Sequence[Row], ways: Sequence[Freedom], by: Sequence[float]) -> tuple[Row, ...]:
    """Rows whose landings are shifted along each freedom by so much."""
    weights = {row.target: np.array(row.weights) for row in rows}
    for way, length in zip(ways, by):
        for step in way.steps:
            weights[step] = weights[step] + length * way.weights
    return tuple(
        row.model_copy(update={"weights": tuple(weights[row.target].tolist())}) for row in rows
    )


class Linearised:
    """How the ends of a roll answer to its freedoms, to first order.

    Args:
        rolls: the samples.
        rolled: roll to change, replayed: its outputs are kept.
        tick: called as each freedom was looked at, with (done, of).
    """

    def __init__(
        self, rolls: Rolls, rolled: Rollout, tick: Callable[[int, int], None] = lambda *_: None
    ) -> None:
        self.ways = freedoms(rolls, rolled)
        self._rolls = rolls
        self._weight = rolls.missed(rolled.final).sqrt()[:, None]
        self._answers = torch.stack([*self._looked_at(rolled, tick)], dim=1)

    def _looked_at(self, rolled: Rollout, tick: Callable[[int, int], None]) -> Iterator[Tensor]:
        """How far each sample ends from where it did, for a shift of one, in its own error."""
        for number, way in enumerate(self.ways):
            rows = shifted(rolled.rows, [way], [STEP])
            last = rolled.computed[way.gap]
            known = {place: it for place, it in rolled.outputs.items() if place.step <= last}
            moved = self._rolls.replayed(rolled.computed, rows, known).final - rolled.final
            yield moved / (STEP * self._weight).float()
            tick(number + 1, len(self.ways))

    def normals(self, final: Tensor, numbers: Tensor, on: Tensor | None = None) -> np.ndarray:
        """Normal equations with the residual as their last column, of each group of samples.

        Args:
            final: where the samples end.
            numbers: number of each sample, which says what group it is in.
            on: which samples count, `(samples,)` of bool; None for all.

        Returns:
            Matrices `(groups, freedoms + 1, freedoms + 1)`.
        """
        away = (final - self._rolls.plain[-1]).double() / self._weight
        answers = self._answers if on is None else self._answers * on[:, None, None]
        away = away if on is None else away * on[:, None]

        def normal(part: slice) -> np.ndarray:
            sums = np.zeros((GROUPS, len(self.ways) + 1, len(self.ways) + 1))
            for moved, end, number in zip(answers[part], away[part], numbers[part]):
                columns = torch.cat([moved.double(), end[None]]) / len(end) ** 0.5
                sums[int(number) % GROUPS] += (columns @ columns.T).numpy()
            return sums

        found = self._rolls.share.sum(normal)
        return found[found[:, -1, -1] > 0]


def least_squares(normal: np.ndarray, damping: float, ways: Sequence[Freedom]) -> np.ndarray:
    """The shifts of least residual; those that change the rows much are damped most."""
    answers, aim = normal[:-1, :-1], normal[:-1, -1]
    change = np.array([way.weights @ way.weights for way in ways])
    damped = answers + damping * np.diag(np.diag(answers) * change / change.mean())
    found: np.ndarray = -np.linalg.solve(damped, aim)
    return found


def gain(normal: np.ndarray, by: np.ndarray) -> float:
    """The gain in dB of shifts, by the linear model."""
    step = np.append(by, 1.0)
    return float(-10 * np.log10(max(step @ normal @ step, 1e-12) / normal[-1, -1]))


def foreseen(normals: np.ndarray, damping: float, ways: Sequence[Freedom]) -> float:
    """The gain in dB of groups that are left out in turn, by the linear model.

    It is a standard error below their mean: of few groups, a mean above 0 may be chance.
    """
    whole = normals.sum(0)
    gains = [gain(own, least_squares(whole - own, damping, ways)) for own in normals]
    return float(np.mean(gains) - np.std(gains, ddof=1) / len(gains) ** 0.5)


def dampings(normals: np.ndarray, ways: Sequence[Freedom]) -> list[float]:
    """Dampings worth a roll, rising from the one that gains most on groups left out.

    The last is the largest that gains on them; none where no damping does.
    """
    if len(normals) < 2 or not ways:
        return []
    gains = {damping: foreseen(normals, damping, ways) for damping in DAMPINGS}
    worth = [damping for damping, gained in gains.items() if gained >= WORTH]
    if not worth:
        return []
    best = max(gains, key=lambda damping: gains[damping])
    rising: list[float] = np.geomspace(best, worth[-1], ROLLS if worth[-1] > best else 1).tolist()
    return rising


def _gram(rolls: Rolls, guided: Sequence[Tensor]) -> np.ndarray:
    def inner(part: slice) -> np.ndarray:
        flat = torch.stack([each[part].double().flatten() for each in guided])
        products: np.ndarray = (flat @ flat.T).numpy()
        return np.append(products.ravel(), flat.shape[1])

    *sums, elements = rolls.share.sum(inner).tolist()
    gram: np.ndarray = np.array(sums).reshape(len(guided), -1) / elements
    return gram


def _directions(gram: np.ndarray) -> np.ndarray:
    """Weights of the outputs along which they are uncorrelated and of unit RMS, one a row."""
    length = np.sqrt(np.diag(gram))
    values, vectors = np.linalg.eigh(gram / np.outer(length, length))
    kept = values > LEAST * values[-1]
    found: np.ndarray = (vectors[:, kept] / np.sqrt(values[kept])).T / length
    return found
