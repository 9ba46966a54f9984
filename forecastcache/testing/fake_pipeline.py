"""FakePipeline: as much of a pipeline as a session reads."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn


class FakePipeline:
    """A model and a scheduler that tells the times of a run.

    Args:
        times: times of all steps, falling.
        transformer: model to be called; one whose output moves with time where none is given.
    """

    def __init__(self, times: Sequence[float], transformer: nn.Module | None = None) -> None:
        self.transformer = transformer or _Drift()
        self.scheduler = _FlowTimes(times)


class _Drift(nn.Module):
    """A model whose output moves with time."""

    def forward(self, sample: Tensor, timestep: Tensor) -> Tensor:
        return sample * timestep


class _FlowTimes:
    """As much of a flow-matching scheduler as a session reads."""

    order = 1

    def __init__(self, times: Sequence[float]) -> None:
        self.timesteps = torch.tensor(times, dtype=torch.float64)
        self.sigmas = self.timesteps / max(times)

    def set_timesteps(self) -> None:
        """Sessions take a scheduler for one by this; here the times stand."""

    def step(self, model_output: Tensor) -> None:
        """What a session looks at to see how a pipeline guides; here no sample is kept."""
