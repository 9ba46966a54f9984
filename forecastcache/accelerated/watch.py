"""Watch: what forecasts would have missed, where the network tells.

At a computed step a forecast of it can be compared with what comes. A calibration says how much
that misses on its own samples; where it is many times as much, the run is none of those that the
rows were fitted for.

Reference: SpeCa (2509.11628), forecast and verify. It computes the steps that follow a miss; rows
that were fitted in closed loop make up for their own misses, and end farther away when they are
interrupted.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
from pydantic import SkipValidation
from torch import Tensor

from forecastcache.calibration.calibration import Calibration
from forecastcache.calibration.gram import open_loop_row, residual
from forecastcache.calibration.subset import Subset
from forecastcache.predictors.row import Row
from forecastcache.schedule import Listed, Signal, State
from forecastcache.step import Step

LOOKED_AT = Subset(4096)  # elements of each sample


class Check(Row):
    """A row for a computed step, and what it misses.

    Attributes:
        missed: RMS of what it misses on the samples of the calibration, as a part of the output.
    """

    missed: float


def checks(calibration: Calibration, computed: Sequence[int]) -> tuple[Check, ...]:
    """What is to be expected at each computed step but the first.

    The row is that of least squares on plain runs; in closed loop the network answers to displaced
    samples besides, by as much as was seen when the schedule was rolled.
    """
    recording = calibration.recording
    outputs = recording.branches.sum(0)
    fit = next((it for it in calibration.fits if it.computed == tuple(computed)), None)
    moved = [0.0] * len(computed) if fit is None else [answer for _, _, answer in fit.response]
    found = []
    for place in range(1, len(computed)):
        step = computed[place]
        row = open_loop_row(outputs, computed[:place], step)
        size = recording.gram[step, step] / recording.elements
        missed = residual(outputs, row) / outputs[step, step] + moved[place] / size
        found.append(Check(**row.model_dump(), missed=float(np.sqrt(missed))))
    return tuple(found)


class Watched(Listed):
    """The steps listed; at each but the last, what a forecast of it would have missed is told.

    Args:
        steps: computed steps, rising from 0.
        checks: what is to be expected at each of them but the first.
        tell: function that is given the step and, for each sample, how many times what was
            expected its forecast has missed.
    """

    checks: tuple[Check, ...]
    tell: SkipValidation[Callable[[int, list[float]], None]]

    def __str__(self) -> str:
        return str(Listed(self.steps))

    @property
    def needs(self) -> frozenset[Signal]:
        return frozenset({"output"})

    def compute(self, step: Step, state: State) -> bool:
        seen: dict[int, Tensor] = state.memory
        if state.computed and state.computed_output is not None:
            newest = state.computed[-1].index
            if newest not in seen:
                seen[newest] = LOOKED_AT.of(state.computed_output)
                self._compare(newest, seen)
        return super().compute(step, state)

    def _compare(self, step: int, seen: dict[int, Tensor]) -> None:
        check = next((it for it in self.checks if it.target == step), None)
        if check is None:
            return
        terms = [weight * seen[c] for weight, c in zip(check.weights, check.computed)]
        missed = (sum(terms) - seen[step]).square().sum(1) / seen[step].square().sum(1)
        self.tell(step, (missed.sqrt() / check.missed).tolist())
