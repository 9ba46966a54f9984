"""Sampler: how a pipeline's scheduler moves the samples.

A scheduler without clipping or thresholding is linear in its samples and outputs, a multistep one
in earlier ones too:

    x_{s+1} = sum_k a_{s,k} x_{s-k} + sum_k b_{s,k} g_{s-k} + noise,   k = 0 .. 3,

g_s being the network's answer once guidance has joined its halves. So the displacement of an
accelerated run from the plain one, d of the samples and e of the outputs, obeys the same recursion
with the same factors, and noise that the seeds fix cancels in it.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np
from torch import Tensor

from forecastcache.errors import CalibrationError

LAGS = 4  # samples and outputs, the newest included, that a step may read
# Regressors of a step, as (what, lag): each scheduler needs the first few of them.
REGRESSORS = (
    ("x", 0), ("g", 0), ("g", 1), ("x", 1), ("g", 2), ("x", 2), ("g", 3), ("x", 3)
)  # fmt: skip
FIRST_ORDER = 2  # of them
TOLERANCE = 1e-4  # relative residual above which a sampler is not linear
FLOAT32 = float(np.finfo(np.float32).eps)
ROUNDINGS = 4  # of float32 in a sample, that a residual may come to
NEAR = 1.5  # times the least residual of any regressors: as good as it
UNREAD = 1e-6  # of the largest factor: an output of a smaller one moves nothing
SINGULAR = 1e-13  # share of the largest eigenvalue below which a direction is rounding


@dataclass(frozen=True)
class Motion:
    """How a sampler moves: x_{s+1} = sum_k a_{s,k} x_{s-k} + sum_k b_{s,k} g_{s-k} + noise.

    Attributes:
        keep: factors a_{s,k} of the samples, `(T, LAGS)`.
        move: factors b_{s,k} of the guided outputs, `(T, LAGS)`.
        missed: largest relative residual of all steps.
        precision: relative precision with which the samples were held.
        noisy: whether it draws noise, so that displacements alone obey this.
    """

    keep: np.ndarray
    move: np.ndarray
    missed: float
    precision: float = 0.0
    noisy: bool = False

    @property
    def is_linear(self) -> bool:
        """Whether that is all that the sampler does."""
        return self.missed <= max(TOLERANCE, self.precision)

    @property
    def first_order(self) -> bool:
        """Whether it is linear in x_s and g_s alone, and draws no noise."""
        earlier = self.keep[:, 1:].any() or self.move[:, 1:].any()
        return self.is_linear and not self.noisy and not earlier

    @property
    def tells_outputs(self) -> bool:
        """Whether x_s and x_{s+1} tell g_s at every step."""
        moves = np.abs(self.move[:, 0])
        return self.first_order and bool((moves > UNREAD * moves.max()).all())

    def require_linear(self, sampler: str) -> None:
        """Refuse a sampler that does more, by name.

        Raises:
            CalibrationError: naming the remedies.
        """
        if not self.is_linear:
            raise CalibrationError(
                f"{sampler} is not linear in its samples and outputs: its steps miss a weighted "
                f"sum of them by {self.missed:.1e} of their length. Closed loop needs one that "
                "is: switch off clip_sample and thresholding in its configuration, or fit in "
                "open loop"
            )

    def require_first_order(self, sampler: str) -> None:
        """Refuse a sampler that the simulated loop cannot serve, by name.

        Raises:
            CalibrationError: naming the remedies.
        """
        if not self.first_order:
            raise CalibrationError(
                f"{sampler} is stochastic or of higher order, which the simulated loop does not "
                "know: fit in closed loop, or take loop='open'"
            )

    def guided(self, samples: Sequence[Tensor], step: int) -> Tensor:
        """Guided output of one step, float64, where the samples tell it (`tells_outputs`).

        Args:
            samples: x_0 to x_T, any shape.
            step: step of the output.
        """
        keep, move = float(self.keep[step, 0]), float(self.move[step, 0])
        return (samples[step + 1].double() - keep * samples[step].double()) / move

    @cached_property
    def carried(self) -> tuple[np.ndarray, np.ndarray]:
        """What displacements before each step come to at the end, if later answers are plain.

        Entry [s, k] of the first is the final displacement for one unit of d_{s-k}, of the second
        for one unit of e_{s-k}; `(T, LAGS)` each.
        """
        total = len(self.keep)
        samples, outputs = np.zeros((total + 1, LAGS + 1)), np.zeros((total + 1, LAGS + 1))
        samples[total, 0] = 1.0
        for step in reversed(range(total)):
            landed = samples[step + 1, 0]
            samples[step, :LAGS] = landed * self.keep[step] + samples[step + 1, 1:]
            outputs[step, :LAGS] = landed * self.move[step] + outputs[step + 1, 1:]
        return samples[:total, :LAGS], outputs[:total, :LAGS]

    @property
    def sensitivity(self) -> np.ndarray:
        """How far an error of one in each step's output carries to the final sample, `(T,)`."""
        found: np.ndarray = self.carried[1][:, 0]
        return found


class MotionSum:
    """Gathers what the factors are solved from; it adds up over prompts and machines.

    Attributes:
        products: inner products of the regressors, in their order, and x_{s+1} at each step,
            `(T, n, n)`, float64; n is 9, or 3 in files of older versions, for x_s and g_s alone.
    """

    def __init__(self, steps: int) -> None:
        self.products = np.zeros((steps, len(REGRESSORS) + 1, len(REGRESSORS) + 1))

    @classmethod
    def of(cls, products: np.ndarray) -> MotionSum:
        """The sum that was gathered before."""
        found = cls(0)
        found.products = products
        return found

    def observe(self, samples: Sequence[Tensor], guided: Sequence[Tensor]) -> None:
        """Add one finished run, or the difference of two.

        Args:
            samples: x_0 to x_T, any shape.
            guided: g_0 to g_{T-1}, likewise.
        """
        flat = {
            "x": [each.double().flatten().numpy() for each in samples],
            "g": [each.double().flatten().numpy() for each in guided],
        }
        for step in range(len(guided)):
            here = [at for at, (_, lag) in enumerate(REGRESSORS) if lag <= step]
            read = [flat[what][step - lag] for what, lag in (REGRESSORS[at] for at in here)]
            columns = np.stack([*read, flat["x"][step + 1]])
            self.products[step][np.ix_([*here, -1], [*here, -1])] += columns @ columns.T

    def motion(
        self, elements: int, precision: float = 0.0, sizes: np.ndarray | None = None
    ) -> Motion:
        """The least-squares factors; at each step of the fewest regressors that explain it.

        A sampler that none explain is given the factors of first order, which open loop can use.

        Args:
            elements: number of elements that were summed over.
            precision: relative precision with which the samples were held.
            sizes: squared lengths of the samples x_{s+1}, where the sums are of the difference of
                two runs, `(T,)`. A difference is known no better than these are rounded.
        """
        every = range(FIRST_ORDER, self.products.shape[-1])
        found = self._solved(every, elements, precision, sizes)
        if found.is_linear:
            return found
        first = self._solved(every[:1], elements, precision, sizes)
        return replace(first, missed=found.missed)

    def _solved(
        self, counts: Sequence[int], elements: int, precision: float, sizes: np.ndarray | None
    ) -> Motion:
        keep, move = np.zeros((2, len(self.products), LAGS))
        missed = []
        worth = ROUNDINGS * max(FLOAT32, precision) / max(TOLERANCE, precision)
        for step, products in enumerate(self.products):
            moved = float(products[-1, -1]) ** 0.5
            length = moved if sizes is None else float(sizes[step]) ** 0.5
            fits = [_least_squares(products, count, elements) for count in counts]
            enough = max(ROUNDINGS * FLOAT32 * length, NEAR * min(left for _, left in fits))
            found, left = next(fit for fit in fits if fit[1] <= enough)
            for (what, lag), factor in zip(REGRESSORS, found):
                (keep if what == "x" else move)[step, lag] = factor
            known = moved if sizes is None else max(moved, worth * length)
            missed.append(left / max(known, 1e-150))
        return Motion(keep, move, max(missed), precision, noisy=sizes is not None)


def _least_squares(products: np.ndarray, count: int, elements: int) -> tuple[np.ndarray, float]:
    """Factors of the first `count` regressors, and the length of what they leave.

    That is scaled up to what so many elements would leave that the factors were not fitted to.
    """
    kept = [*range(count), len(products) - 1]
    chosen = products[np.ix_(kept, kept)]
    length = np.sqrt(np.maximum(chosen.diagonal()[:-1], 1e-300))
    scaled = chosen[:-1, :-1] / np.outer(length, length)
    solved, *_ = np.linalg.lstsq(scaled, chosen[:-1, -1] / length, rcond=SINGULAR)
    factors = solved / length
    whole = np.append(factors, -1.0)
    free = max(elements - count, 0)
    if not free:
        return factors, float(chosen[-1, -1]) ** 0.5
    left = max(float(whole @ chosen @ whole), 0.0) * elements / free
    return factors, left**0.5
