"""Series: backward differences of computed features, each times a polynomial of the offset."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Iterable, Sequence
from math import factorial
from typing import TYPE_CHECKING, Annotated, Any, TypeAlias

import numpy as np
from pydantic import Field
from typing_extensions import Self

from forecastcache.predictor import LinearPredictor
from forecastcache.predictors.differences import backward_differences
from forecastcache.schedule import Schedule
from forecastcache.step import Step

Guard: TypeAlias = Annotated[int, Field(ge=0)] | None


class Series(LinearPredictor):
    """F^_s = sum_{i<=m} d_i p_i(k) / i!, with d_i TaylorSeer's differences and k the offset.

    Until m + 1 features are computed the series stops at the differences there are. Of the first
    `guard` steps, the warm-up, only the newest two computed feed differences, as in the
    reference: differences over gaps of 1 say little about the longer gaps that follow.
    """

    if TYPE_CHECKING:  # options of the subclasses, in the order in which each takes them
        order: int
        guard: Guard

    @abstractmethod
    def basis(self, i: int, k: float) -> float:
        """p_i(k), the polynomial of degree i at k steps past the newest computed one."""

    @property
    def depth(self) -> int:
        return self.order + 1

    def for_schedule(self, schedule: Schedule) -> Self:
        if self.guard is not None:
            return self
        return self.model_copy(update={"guard": schedule.warm_up})

    def weights(self, computed: Sequence[Step], target: Step) -> np.ndarray:
        steps = tuple(step.index for step in computed)
        k = target.index - steps[-1]
        # A difference is formed at step guard - 1 or later, from the computed step before it.
        before = sum(index < (self.guard or 0) - 1 for index in steps)
        guarded = max(0, before - 1)
        differences = backward_differences(steps[guarded:], self.order)
        coefficients = [self.basis(i, k) / factorial(i) for i in range(len(differences))]
        return np.concatenate([np.zeros(guarded), coefficients @ differences])

    def __repr_args__(self) -> Iterable[tuple[str | None, Any]]:
        return (
            (name, it) for name, it in super().__repr_args__() if (name, it) != ("guard", None)
        )
