"""Sampler: what a pipeline's scheduler is given and what it makes of it, step by step.

A deterministic sampler of first order moves by x_{s+1} = a_s x_s + b_s g_s, g_s being the
network's answer once guidance has joined its halves. It is seen where the pipeline hands it to the
scheduler, so that every guidance and every pipeline look alike.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from torch import Tensor

from forecastcache.errors import CalibrationError

TOLERANCE = 1e-4  # relative residual above which a sampler is stochastic or of higher order


@dataclass
class Track:
    """What went through a scheduler since the run began.

    Attributes:
        samples: x_0 to x_s, where s steps have been made, on the host.
        guided: g_0 to g_{s-1}.
        run: the run's timesteps.
    """

    samples: list[Tensor] = field(default_factory=list)
    guided: list[Tensor] = field(default_factory=list)
    run: Tensor | None = None

    def open(self, run: Tensor) -> None:
        self.run = run
        self.samples, self.guided = [], []


@contextmanager
def tracked(pipe: Any, count: int | None = None) -> Iterator[Track]:
    """Follow the pipeline's scheduler; nothing is left on it afterwards.

    Args:
        pipe: a diffusers pipeline.
        count: samples that it makes. Where it carries each twice, for both halves of guidance,
            as DiT's does, the first of them are taken. None takes all.

    Raises:
        CalibrationError: the pipeline has no scheduler.
    """
    scheduler = getattr(pipe, "scheduler", None)
    if scheduler is None or not hasattr(scheduler, "step"):
        raise CalibrationError(
            f"{type(pipe).__name__} has no scheduler: give a diffusers pipeline"
        )
    track, step = Track(), scheduler.step

    def follow(model_output: Tensor, timestep: Any, sample: Tensor, *args: Any, **kw: Any) -> Any:
        if track.run is not scheduler.timesteps:  # made anew for every run
            track.open(scheduler.timesteps)
            track.samples.append(_copy(sample[:count]))
        moved = step(model_output, timestep, sample, *args, **kw)
        after = moved[0] if isinstance(moved, tuple) else moved.prev_sample
        track.guided.append(_copy(model_output[:count]))
        track.samples.append(_copy(after[:count]))
        return moved

    scheduler.step = follow
    try:
        yield track
    finally:
        del scheduler.step


def _copy(tensor: Tensor) -> Tensor:
    return tensor.detach().float().cpu().clone()


@dataclass(frozen=True)
class Motion:
    """How a sampler of first order moves: x_{s+1} = a_s x_s + b_s g_s.

    Attributes:
        keep: a_s, `(T,)`.
        move: b_s, `(T,)`.
        missed: relative residual, the largest of all steps.
    """

    keep: np.ndarray
    move: np.ndarray
    missed: float

    def require_first_order(self, sampler: str) -> None:
        """Refuse a sampler that does more, by name.

        Raises:
            CalibrationError: naming the remedies.
        """
        if self.missed > TOLERANCE:
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

    def observe(self, track: Track) -> None:
        """Add one finished run."""
        for step, guided in enumerate(track.guided):
            three = [track.samples[step], guided, track.samples[step + 1]]
            flat = np.stack([tensor.double().flatten().numpy() for tensor in three])
            self.products[step] += flat @ flat.T

    def motion(self) -> Motion:
        """The least-squares a_s and b_s."""
        found, missed = [], []
        for products in self.products:
            coefficients, *_ = np.linalg.lstsq(products[:2, :2], products[:2, 2], rcond=1e-12)
            whole = np.array([*coefficients, -1.0])
            missed.append(max(float(whole @ products @ whole), 0.0) / max(products[2, 2], 1e-300))
            found.append(coefficients)
        keep, move = np.array(found).T
        return Motion(keep, move, float(np.sqrt(max(missed))))
