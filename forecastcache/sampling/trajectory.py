"""Trajectory: what a pipeline's scheduler is given and what it makes of it, step by step.

Seen where the pipeline hands the network's output to the scheduler, once guidance has joined its
halves, every pipeline and every guidance look alike.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor

from forecastcache._util.swap import swapped
from forecastcache.errors import AttachError


def whole(batch: Tensor) -> Tensor:
    """All of a batch, float32 on the host."""
    return batch.detach().float().cpu().clone()


@dataclass
class Trajectory:
    """What went through a scheduler since the run began.

    Attributes:
        look: function that gives what is kept of a batch.
        samples: x_0 to x_s, where s steps have been made, float32 on the host.
        guided: guided outputs g_0 to g_{s-1}, likewise.
        run: timesteps of the run.
        precision: coarsest relative precision that the pipeline held any of the samples with;
            many draw the first in float32 and go on in the model's dtype.
        elements: number of elements of one whole sample.
    """

    look: Callable[[Tensor], Tensor]
    samples: list[Tensor] = field(default_factory=list)
    guided: list[Tensor] = field(default_factory=list)
    run: Tensor | None = None
    precision: float = 0.0
    elements: int = 0

    def open(self, run: Tensor) -> None:
        """Begin with the samples of another run."""
        self.run = run
        self.samples, self.guided = [], []
        self.precision = 0.0

    def add_sample(self, sample: Tensor, count: int | None) -> None:
        """Take note of x_s, of its first `count` samples."""
        self.samples.append(self.look(sample[:count]))
        self.precision = max(self.precision, torch.finfo(sample.dtype).eps)
        self.elements = sample[0].numel()


@contextmanager
def trajectory_of(
    pipe: Any, count: int | None = None, look: Callable[[Tensor], Tensor] = whole
) -> Iterator[Trajectory]:
    """Follow the pipeline's scheduler; nothing is left on it afterwards.

    Args:
        pipe: a diffusers pipeline.
        count: number of samples that it makes. Where it carries each twice, for both halves of
            guidance, as DiT's does, the first of them are taken. None takes all.
        look: function that gives what is kept of a batch; by default all of it.

    Raises:
        AttachError: the pipeline has no scheduler.
    """
    scheduler = getattr(pipe, "scheduler", None)
    if scheduler is None or not hasattr(scheduler, "step"):
        raise AttachError(f"{type(pipe).__name__} has no scheduler: give a diffusers pipeline")
    trajectory, step = Trajectory(look), scheduler.step

    def follow(model_output: Tensor, timestep: Any, sample: Tensor, *args: Any, **kw: Any) -> Any:
        if trajectory.run is not scheduler.timesteps:  # made anew for every run
            trajectory.open(scheduler.timesteps)
            trajectory.add_sample(sample, count)
        moved = step(model_output, timestep, sample, *args, **kw)
        after = moved[0] if isinstance(moved, tuple) else moved.prev_sample
        trajectory.guided.append(look(model_output[:count]))
        trajectory.add_sample(after, count)
        return moved

    with swapped(scheduler, "step", follow):
        yield trajectory
