"""Learned: one row of weights for each forecast step, as L2P learns them."""

from __future__ import annotations

import warnings
from collections.abc import Iterable, Mapping, Sequence
from functools import cached_property
from math import isfinite
from typing import TYPE_CHECKING, Annotated, Any

import numpy as np
from pydantic import Field, field_validator, model_validator
from typing_extensions import Self

from forecastcache.errors import ForecastCacheWarning, TrajectoryError
from forecastcache.predictor import LinearPredictor
from forecastcache.predictors.row import Row, in_words
from forecastcache.step import Step

SAME = 1e-3  # of the range of times: nearer than this, two trajectories are at the same times
REMEDY = "use the schedule they were fitted for, or fit rows for this one"


class Learned(LinearPredictor):
    """A row of its own for every forecast step, as a calibration has fitted it.

    F^_s = sum_c w_{s,c} F_c, over the computed steps c that the row of step s reads.

    Every linear predictor can be written so; a calibration finds the rows of least squares. They
    hold for the steps and times they were fitted on, so other ones are refused. Rows need not sum
    to 1: a constant trajectory is kept only if they do.

    Noise gain is that of the rows. Use it wherever a few prompts can be spent on calibration.

    Args:
        rows: one for each forecast step.
        times: the times of all steps of the trajectory fitted on, as the model is given them; None
            to serve any times.
        tolerance: how far a time may lie from the one fitted on, as a part of the range of times.

    Reference: L2P (2604.26365), the learnable linear predictor.
    """

    rows: tuple[Row, ...]
    times: tuple[float, ...] | None = None
    tolerance: Annotated[float, Field(ge=0, lt=1)] = 0.01

    if TYPE_CHECKING:  # the constructor takes more than the fields keep

        def __init__(
            self,
            rows: Iterable[Row | Mapping[str, Any]],
            times: Iterable[float] | None = ...,
            tolerance: float = ...,
        ) -> None: ...

    @field_validator("rows")
    @classmethod
    def _one_a_step(cls, rows: tuple[Row, ...]) -> tuple[Row, ...]:
        if not rows:
            raise ValueError("there are no rows: give one for each forecast step")
        targets = [row.target for row in rows]
        twice = next((t for i, t in enumerate(targets) if t in targets[:i]), None)
        if twice is not None:
            raise ValueError(f"step {twice} has two rows: keep one")
        return rows

    @model_validator(mode="after")
    def _within_the_times(self) -> Self:
        last = max(row.target for row in self.rows)
        if self.times is not None and not (last < len(self.times) and isfinite(sum(self.times))):
            raise ValueError(
                f"the times are {len(self.times)} and the last row is of step {last}: give a "
                "finite time for every step of the trajectory"
            )
        return self

    def __str__(self) -> str:
        return f"Learned({len(self.rows)} rows over at most {self.depth} features)"

    @property
    def depth(self) -> int:
        return max(len(row.computed) for row in self.rows)

    @property
    def fitted(self) -> bool:
        return True

    @property
    def total(self) -> int | None:
        return None if self.times is None else len(self.times)

    def check(self, total: int, computed: Sequence[int] | None) -> None:
        if self.total not in (None, total):
            raise TrajectoryError(
                f"these rows were fitted on {self.total} steps, but the trajectory has {total}: "
                f"ask the pipeline for {self.total} steps, or fit rows for {total}"
            )
        if computed is None:
            return
        for target in sorted(set(range(total)) - set(computed)):
            self._row(target, [c for c in computed if c < target])

    def weights(self, computed: Sequence[Step], target: Step) -> np.ndarray:
        row = self._row(target.index, [step.index for step in computed])
        self._require_times([*computed[-len(row.weights) :], target])
        if target.index == self.last_target:
            self._warn_of_times([*computed, target])
        return np.array([0.0] * (len(computed) - len(row.weights)) + list(row.weights))

    def _row(self, target: int, computed: list[int]) -> Row:
        row = next((row for row in self.rows if row.target == target), None)
        if row is None:
            raise TrajectoryError(f"these rows have none for step {target}: {REMEDY}")
        newest = computed[-len(row.computed) :]
        if tuple(newest) != row.computed:
            raise TrajectoryError(
                f"step {target} is to be forecast from steps {in_words(newest)}, but its row was "
                f"fitted on {in_words(row.computed)}: {REMEDY}"
            )
        return row

    def _require_times(self, steps: Sequence[Step]) -> None:
        if self.times is None:
            return
        range_ = max(self.times) - min(self.times)
        for step in steps:
            fitted = self.times[step.index]
            if not abs(step.time - fitted) <= self.tolerance * range_:
                raise TrajectoryError(
                    f"step {step.index} is at time {step.time:g}, but the rows were fitted at "
                    f"{fitted:g}: use the scheduler and the image size they were fitted for, or "
                    "raise their tolerance"
                )

    @cached_property
    def last_target(self) -> int:
        """The last forecast step, which sees most of a run's times: they are warned of there."""
        return max(row.target for row in self.rows)

    def _warn_of_times(self, steps: Sequence[Step]) -> None:
        if self.times is None:
            return
        range_ = max(self.times) - min(self.times)
        apart = max(abs(step.time - self.times[step.index]) for step in steps)
        if apart > SAME * range_:
            warnings.warn(
                "the run's step times are other ones than the rows were fitted at, by less than "
                f"the tolerance of {self.tolerance:.1%} of their range: the rows are used as they "
                "are",
                ForecastCacheWarning,
                stacklevel=2,
            )
