"""Step: one evaluation slot of a trajectory."""

from __future__ import annotations

from typing import NamedTuple


class Step(NamedTuple):
    """One evaluation slot of a trajectory.

    Attributes:
        index: place in the trajectory, counted from 0.
        time: timestep or sigma that the model is given.
        total: number of steps of the trajectory; None where nothing tells (a bare model).
        logsnr: logarithm of the signal-to-noise ratio, log(alpha^2 / sigma^2), -inf for pure
            noise; None where no scheduler tells it.
    """

    index: int  # type: ignore[assignment]  # the field hides tuple.index
    time: float
    total: int | None = None
    logsnr: float | None = None

    @property
    def is_last(self) -> bool:
        """Whether the trajectory ends with it; False where nobody knows."""
        return self.total is not None and self.index >= self.total - 1

    @property
    def share(self) -> float | None:
        """Share of the trajectory's steps that lie before it; None where nobody knows."""
        return None if self.total is None else self.index / self.total
