"""Pipelines small enough to know all about."""

from __future__ import annotations

from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import numpy as np
import torch
from diffusers import FlowMatchEulerDiscreteScheduler
from torch import Tensor, nn

from forecastcache.calibration.fits import Fit
from forecastcache.calibration.recording import Recording, record
from forecastcache.calibration.rolling import Rolls
from forecastcache.predictors.row import Row

STEPS = 12


class Field(nn.Module):
    """A network that is a formula of the sample and the time."""

    def __init__(self, velocity: Callable[[Tensor, Tensor], Tensor]) -> None:
        super().__init__()
        self.velocity = velocity
        self.calls = 0
        self.config = {"width": 3}

    def forward(self, hidden_states: Tensor, timestep: Tensor) -> Tensor:
        self.calls += 1
        return self.velocity(hidden_states, timestep / 1000)


class Toy:
    """What calibration needs of a pipeline: a transformer, a scheduler, a loop."""

    def __init__(self, velocity: Callable[[Tensor, Tensor], Tensor], scheduler=None) -> None:
        self.transformer = Field(velocity)
        self.scheduler = scheduler or FlowMatchEulerDiscreteScheduler(shift=2.0)

    def __call__(self, start: Tensor, steps: int = STEPS) -> SimpleNamespace:
        if isinstance(self.scheduler, FlowMatchEulerDiscreteScheduler):
            self.scheduler.set_timesteps(sigmas=np.linspace(1, 1 / steps, steps).tolist())
        else:
            self.scheduler.set_timesteps(steps)
        sample = start
        for time in self.scheduler.timesteps:
            answer = self.transformer(
                hidden_states=scaled(self.scheduler, sample, time), timestep=time
            )
            sample = self.scheduler.step(answer, time, sample, return_dict=False)[0]
        return SimpleNamespace(images=sample)


def scaled(scheduler: Any, sample: Tensor, time: Tensor) -> Tensor:
    """What the network is given: schedulers in noise levels bring samples to unit variance."""
    scale = getattr(scheduler, "scale_model_input", None)
    return scale(sample, time) if scale else sample


def starts(count: int, seed: int = 0, size: int = 6) -> Tensor:
    return torch.randn(count, size, generator=torch.Generator().manual_seed(seed))


def rolls_of(pipe: Toy, start: Tensor, **options) -> tuple[Recording, Rolls]:
    """A plain run of these starts, and what rolls them again."""
    recording, seen = record(pipe, lambda: pipe(start), len(start))
    if not recording.motion.tells_outputs:
        options = {"guided": seen.guided} | options
    return recording, Rolls(pipe, lambda: pipe(start), seen.samples, recording.motion, **options)


def fit_of(computed: tuple[int, ...], rows: tuple[Row, ...], psnr: float) -> Fit:
    """A fit with this figure, of which no response was measured."""
    return Fit(
        computed=computed, rows=rows, latent_psnr_db=psnr, fitted_latent_psnr_db=psnr,
        response=((0.0, 0.0, 0.0),) * len(computed), evaluations=0,
    )  # fmt: skip


def curved(sample: Tensor, sigma: Tensor) -> Tensor:
    """A velocity that depends on where the sample is, and bends."""
    return torch.tanh(sample) * (1 + sigma) + 0.5 * torch.sin(3 * sigma + sample)


class Conditioned(nn.Module):
    """A network whose answer depends on a condition."""

    config = {"width": 3}  # noqa: RUF012

    def __init__(self) -> None:
        super().__init__()
        self.gain = nn.Parameter(torch.ones(()))

    def forward(self, hidden_states: Tensor, timestep: Tensor, condition: Tensor) -> Tensor:
        return self.gain * torch.tanh(hidden_states + condition)


class Guided:
    """A pipeline that calls its network in each step with the conditions listed for it."""

    def __init__(self, conditions: Callable[[int], list[float]]) -> None:
        self.transformer = Conditioned()
        self.scheduler = FlowMatchEulerDiscreteScheduler(shift=2.0)
        self.conditions = conditions

    @torch.no_grad()
    def __call__(self, batch_size, num_inference_steps, output_type, generator):
        sample = torch.stack([torch.randn(6, generator=it) for it in generator])
        self.scheduler.set_timesteps(num_inference_steps)
        for step, time in enumerate(self.scheduler.timesteps):
            given = scaled(self.scheduler, sample, time)
            each = [
                self.transformer(hidden_states=given, timestep=time, condition=torch.tensor([it]))
                for it in self.conditions(step)
            ]
            sample, *_ = self.scheduler.step(sum(each), time, sample, return_dict=False)
