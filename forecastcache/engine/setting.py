"""Setting: what a session was attached with."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import torch

from forecastcache.adapter import Adapter
from forecastcache.granularity import Granularity
from forecastcache.predictor import Predictor
from forecastcache.schedule import Schedule


@dataclass(frozen=True)
class SessionOptions:
    """How a session keeps features and what it does about trouble; see `attach`."""

    dtype: torch.dtype | None = None
    offload: Literal["cpu"] | None = None
    not_finite: Literal["raise", "recompute"] = "raise"
    budget: int | None = None


@dataclass(frozen=True)
class Setting:
    """What a session was attached with; the same in every thread."""

    adapter: Adapter
    schedule: Schedule
    predictor: Predictor
    site: Granularity
    options: SessionOptions

    @property
    def spans_models(self) -> bool:
        """Whether features of one model forecast those of another that takes over from it.

        Outputs answer the same question. What lies inside two models is not comparable, neither
        as features nor as signals that a schedule follows from step to step.
        """
        inside = self.looks_inside or "first_block" in self.predictor.needs
        return self.site == "output" and not inside

    @property
    def looks_inside(self) -> bool:
        """Whether the schedule decides by what lies inside the model."""
        return not self.schedule.needs <= {"output"}

    def check_trajectory(self, total: int) -> None:
        """Refuse a number of steps for which the schedule or the predictor is not made.

        Raises:
            ForecastCacheError: one of them is not.
        """
        if self.predictor.total is not None and total != self.predictor.total:
            self.predictor.check(total, None)  # which names the number that its rows are for
        self.schedule.check(total)
        self.predictor.check(total, self.schedule.foreseen(total))
