"""Sampler: how a pipeline's scheduler moves the samples.

A deterministic sampler of first order moves by x_{s+1} = a_s x_s + b_s g_s, g_s being the
network's answer once guidance has joined its halves.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from forecastcache.errors import CalibrationError
from forecastcache.sampling.trajectory import Trajectory

TOLERANCE = 1e-4  # relative residual above which a sampler is stochastic or of higher order


@dataclass(frozen=True)
class Motion:
    """How a sampler of first order moves: x_{s+1} = a_s x_s + b_s g_s.

    Attributes:
        keep: factors a_s of the sample, `(T,)`.
        move: factors b_s of the guided output, `(T,)`.
        missed: largest relative residual of all steps.
        precision: relative precision with which the samples were held.
    """

    keep: np.ndarray
    move: np.ndarray
    missed: float
    precision: float = 0.0

    @property
    def first_order(self) -> bool:
        """Whether that is all that the sampler does."""
        return self.missed <= max(TOLERANCE, self.precision)

    def require_first_order(self, sampler: str) -> None:
        """Refuse a sampler that does more, by name.

        Raises:
            CalibrationError: naming the remedies.
        """
        if not self.first_order:
            raise CalibrationError(
                f"{sampler} is stochastic or of higher order: its steps miss "
                f"a x + b g by {self.missed:.1e} of their length. Closed loop needs a sampler of "
                "first order such as Euler or DDIM with eta=0: choose one, or fit in open loop"
            )


class MotionSum:
    """Gathers what a_s and b_s are solved from; it adds up over prompts and machines.

    Attributes:
        products: inner products of (x_s, g_s, x_{s+1}) at each step, `(T, 3, 3)`, float64.
    """

    def __init__(self, steps: int) -> None:
        self.products = np.zeros((steps, 3, 3))

    @classmethod
    def of(cls, products: np.ndarray) -> MotionSum:
        """The sum that was gathered before."""
        found = cls(len(products))
        found.products = products
        return found

    def observe(self, trajectory: Trajectory) -> None:
        """Add one finished run."""
        for step, guided in enumerate(trajectory.guided):
            three = [trajectory.samples[step], guided, trajectory.samples[step + 1]]
            flat = np.stack([tensor.double().flatten().numpy() for tensor in three])
            self.products[step] += flat @ flat.T

    def motion(self, precision: float = 0.0) -> Motion:
        """The least-squares a_s and b_s, of samples held with this precision."""
        found, missed = [], []
        for products in self.products:
            coefficients, *_ = np.linalg.lstsq(products[:2, :2], products[:2, 2], rcond=1e-12)
            whole = np.array([*coefficients, -1.0])
            missed.append(max(float(whole @ products @ whole), 0.0) / max(products[2, 2], 1e-300))
            found.append(coefficients)
        keep, move = np.array(found).T
        return Motion(keep, move, float(np.sqrt(max(missed))), precision)
