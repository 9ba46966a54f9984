"""Trial: a predictor, a trajectory that it serves, and features to forecast."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from math import exp

import torch
from torch import Tensor

from forecastcache.history import Beside, History
from forecastcache.predictor import SEEN, Forecaster, Predictor
from forecastcache.schedule import Listed, Schedule
from forecastcache.step import Step
from forecastcache.testing.fake_pipeline import FakePipeline

TOTAL = 50
TIMES = tuple(1 - index / TOTAL for index in range(TOTAL))
UNEVEN = Listed(sorted({0, 1, 2, *range(4, TOTAL - 3, 4), *range(7, TOTAL - 3, 8)}))
GRID = (3, 4)
SHAPES = ((2, 12, 5), (2, 3, 8, 6))  # tokens on the grid, an image


@dataclass(frozen=True)
class Trial:
    """A predictor on a trajectory.

    Attributes:
        predictor: predictor on trial.
        schedule: schedule of the trajectory.
        times: times of its steps.
    """

    predictor: Predictor
    schedule: Schedule = UNEVEN
    times: Sequence[float] = TIMES

    @property
    def serves_a_forecast(self) -> bool:
        """Whether any step is left to forecast."""
        return len(self._computed) < len(self.times)

    @property
    def target(self) -> Step:
        """The last step that is forecast."""
        return self._step(max(set(range(len(self.times))) - set(self._computed)))

    @property
    def steps(self) -> tuple[Step, ...]:
        """The steps in the history then, oldest first."""
        before = [index for index in self._computed if index < self.target.index]
        return tuple(map(self._step, before[-self.predictor.depth :]))

    def forecaster(self) -> Forecaster:
        """What forecasts the target."""
        return self.predictor.prepare(self.steps, self.target)

    def features(self) -> Iterator[list[Tensor]]:
        """A feature a step in float64, once for each shape: a site may keep several tensors."""
        for shape in SHAPES:
            yield random_features(len(self.steps), shape)

    def history(self, features: Sequence[Tensor]) -> History:
        """The history that holds `features`, one a step, and what is seen beside them."""
        beside: dict[str, Beside] = {
            need: Beside(History(self.predictor.depth)) for need in self.predictor.needs & SEEN
        }
        shown = self._latents(features), _probes(features)
        for need, tensors in zip(("latent", "first_block"), shown):
            if need in beside:
                for step, tensor in zip((*self.steps, None), tensors, strict=True):
                    beside[need].now = tensor
                    if step is not None:
                        beside[need].keep(step)
        history = History(self.predictor.depth, grid=GRID, beside=beside)
        for step, feature in zip(self.steps, features, strict=True):
            history.observe(step, feature)
        return history

    def pipeline(self) -> FakePipeline:
        """What a session attaches to, to run the trajectory."""
        return FakePipeline(self.times)

    def _latents(self, features: Sequence[Tensor]) -> list[Tensor]:
        """Where features bring a latent, as velocities that are reused from step to step."""
        sigmas = [1 / (1 + exp((step.logsnr or 0) / 2)) for step in (*self.steps, self.target)]
        latents = [torch.zeros_like(features[0])]
        for feature, before, after in zip(features, sigmas, sigmas[1:]):
            latents.append(latents[-1] + (after - before) * feature)
        return latents

    @property
    def _computed(self) -> tuple[int, ...]:
        return self.schedule.computed(len(self.times))

    def _step(self, index: int) -> Step:
        return Step(index, self.times[index], len(self.times), logsnr=0.3 * index - 6)


def _probes(features: Sequence[Tensor]) -> list[Tensor]:
    """What a first block may show at the features' steps and at the target: tokens on the grid."""
    return [each.to(features[0]) for each in random_features(len(features) + 1, SHAPES[0])]


def random_features(count: int, shape: Sequence[int]) -> list[Tensor]:
    """The same normal numbers at every call, float64."""
    generator = torch.Generator().manual_seed(0)
    return [torch.randn(*shape, generator=generator, dtype=torch.float64) for _ in range(count)]
