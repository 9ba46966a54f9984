"""Ground: plain runs of a model of the zoo, and how near forecast runs end to them."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any, Literal

import numpy as np
import torch
from torch import Tensor

from forecastcache.calibration.fits import decibels
from forecastcache.engine.attach import attach
from forecastcache.granularity import Granularity
from forecastcache.predictor import Predictor
from forecastcache.sampling.loading import load
from forecastcache.sampling.request import Request
from forecastcache.sampling.trajectory import Trajectory, trajectory_of
from forecastcache.schedule import Schedule

PART = 10  # samples of a call


class Ground:
    """Samples of one model, made plainly.

    Args:
        model: name of the model, zoo:NAME.
        count: number of samples.
        split: prompts, where the model takes some.
        seed: seed of the first sample.
        pipe: pipeline that is loaded already.

    Attributes:
        pipe: pipeline.
        sigmas: noise levels that its scheduler has for the steps and the end, `(T + 1,)`.
        samples: latents x_0 to x_T, each `(count, ...)`.
        guided: guided outputs g_0 to g_{T-1}, each `(count, ...)`.
    """

    def __init__(
        self,
        model: str,
        count: int,
        split: Literal["calibration", "held-out"] = "held-out",
        seed: int = 0,
        pipe: Any = None,
    ) -> None:
        self.pipe = load(model) if pipe is None else pipe
        self.pipe.set_progress_bar_config(disable=True)
        self.request = Request.of(model, split, count=count, seed=seed, steps=50)
        runs = list(self._runs())
        self.sigmas = torch.as_tensor(getattr(self.pipe.scheduler, "sigmas", ())).double()
        self.samples = [torch.cat(each) for each in zip(*(run.samples for run in runs))]
        self.guided = [torch.cat(each) for each in zip(*(run.guided for run in runs))]

    def near(
        self, schedule: Schedule, predictor: Predictor, site: Granularity = "output"
    ) -> np.ndarray:
        """Latent PSNR of each forecast sample to the plain one, dB, `(count,)`."""
        with attach(self.pipe, schedule, predictor, site=site):
            found = torch.cat([run.samples[-1] for run in self._runs()])
        errors = (found - self.samples[-1]).double().square().flatten(1).mean(1)
        return np.array([decibels(error) for error in errors.tolist()])

    def gram(self, count: int | None = None) -> np.ndarray:
        """Inner products of the guided outputs, of the first `count` samples, `(T, T)`."""
        features = torch.stack([each[:count].flatten() for each in self.guided]).double()
        products: np.ndarray = (features @ features.T).numpy()
        return products

    def _runs(self) -> Iterator[Trajectory]:
        for part in self.request.split(self.pipe, PART):
            with trajectory_of(self.pipe, len(part)) as trajectory:
                part.run(self.pipe)
            yield trajectory


def velocity_misses(samples: Sequence[Tensor], velocities: Sequence[Tensor], at: Tensor) -> Any:
    """Mean |v_j - (x_k - x_j) / (sigma_k - sigma_j)| for j < k, infinite elsewhere, `(T, T + 1)`.

    Reference: MeanCache (2601.19961), an edge of its graph whose velocity is reused.
    """
    steps = len(velocities)
    misses = np.full((steps, steps + 1), np.inf)
    for j, velocity in enumerate(velocities):
        for k in range(j + 1, steps + 1):
            average = (samples[k] - samples[j]) / float(at[k] - at[j])
            misses[j, k] = float((velocity - average).abs().mean())
    return misses
