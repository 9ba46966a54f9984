"""Expected: what a calibration will take in time and memory, from two steps of one micro-batch."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from torch import Tensor

from forecastcache.calibration.guidance import scales_of
from forecastcache.calibration.targets import Effort
from forecastcache.engine.attach import denoisers
from forecastcache.sampling.request import Request
from forecastcache.sampling.trajectory import trajectory_of

BYTES = 4  # of an element, float32
SECOND = 4  # looks before the second step is made: at x_0, and at g and x of each step


@dataclass(frozen=True)
class Expected:
    """What a calibration takes, at most.

    Attributes:
        evaluations: steps that the network computes, for one sample each; a sampler that draws
            noise takes a quarter of a plain run besides.
        seconds_per_evaluation: time of one, measured at the second step of a micro-batch.
        kept_bytes: bytes on the host of what is kept of the plain samples; outputs take as many
            where the sampler is not of first order.
        refined_bytes: bytes on the host while the rows of one schedule are refined.
    """

    evaluations: int
    seconds_per_evaluation: float
    kept_bytes: int
    refined_bytes: int

    @property
    def seconds(self) -> float:
        """Time of all evaluations."""
        return self.evaluations * self.seconds_per_evaluation


class _SeenError(Exception):
    """Two steps were made."""


def expected(
    pipe: Any, requests: Sequence[Request], effort: Effort, micro_batch: int, elements: int
) -> Expected:
    """What a calibration with this effort takes; samples two steps of the first micro-batch.

    Raises:
        CalibrationError: the requests differ in guidance where rows cannot be mixed by it.
    """
    scales_of(pipe, requests)
    part = requests[0].split(pipe, micro_batch)[0]
    seconds, size = _step(pipe, part)
    looked_at = min(size, elements)
    samples = sum(effort.samples)
    refined = effort.targets[: effort.refined]
    ways = max((it.count * (it.count + 1) // 2 for it in refined), default=0)
    return Expected(
        evaluations=effort.total,
        seconds_per_evaluation=seconds / len(part),
        kept_bytes=samples * (effort.steps + 1) * looked_at * BYTES,
        refined_bytes=max(effort.samples) * ways * looked_at * BYTES,
    )


def _step(pipe: Any, part: Request) -> tuple[float, int]:
    """Seconds of the second step, and the number of elements of one sample."""
    denoisers(pipe)  # refuses what cannot be calibrated
    marks: list[float] = []
    sizes: list[int] = []

    def look(batch: Tensor) -> Tensor:
        marks.append(time.perf_counter())
        sizes.append(batch[0].numel())
        if len(marks) > SECOND:
            raise _SeenError
        return batch.detach().cpu()  # waits for the device

    try:
        with trajectory_of(pipe, len(part), look):
            part.run(pipe)
    except _SeenError:
        pass
    return marks[-1] - marks[-3], sizes[-1]
