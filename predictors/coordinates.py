"""Coordinates: what a predictor takes for the distance between steps."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

import numpy as np

from forecastcache.errors import HistoryError
from forecastcache.step import Step

Coordinate = Literal["step", "time", "logsnr"]


def nodes_of(steps: Sequence[Step], coordinate: Coordinate) -> np.ndarray:
    """The steps' coordinates, float64, shape `(len(steps),)`; a noise level may be -inf.

    `step` counts steps, as TaylorSeer does; `time` is the sigma or timestep that the model is
    given; `logsnr` is the log signal-to-noise ratio, in which trajectories of differently shifted
    samplers coincide.

    Raises:
        HistoryError: a step does not tell the coordinate, or two steps have the same.
    """
    numbers = [_read(step, coordinate) for step in steps]
    seen: dict[float, Step] = {}
    for step, number in zip(steps, numbers):
        if number in seen:
            raise HistoryError(
                f"steps {seen[number].index} and {step.index} have the same {coordinate} "
                f"{number:g}, between which nothing can be drawn: use coordinate='step'"
            )
        seen[number] = step
    return np.array(numbers)


def _read(step: Step, coordinate: Coordinate) -> float:
    number = step.index if coordinate == "step" else getattr(step, coordinate)
    if number is None or np.isnan(float(number)):
        raise HistoryError(
            f"step {step.index} does not tell its {coordinate}: attach a pipeline, whose "
            "scheduler does, or use coordinate='step'"
        )
    return float(number)
