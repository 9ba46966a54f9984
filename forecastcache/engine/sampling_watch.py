"""SamplingWatch: how a pipeline samples, seen at the first step of each of its models."""

from __future__ import annotations

import functools
from typing import Any

import torch
from torch import Tensor

from forecastcache._util.nests import tensors_in
from forecastcache.predictor import Sampling

LEFT = 0.05  # of the branches, as they are weighed: more than this, and it is no guidance
CERTAIN = 0.003  # standard error of a scale that is told, as a part of it


class SamplingWatch:
    """Looks at a step of a run: what the model returns, and what the scheduler is given.

    From its start to the scheduler's first step it stands for the scheduler's `step`, on the
    instance; then the scheduler is as it was.

    Args:
        scheduler: scheduler of the pipeline.
        expert: number of the model among those that take turns in the pipeline.
    """

    def __init__(self, scheduler: Any, expert: int = 0) -> None:
        self._scheduler = scheduler
        self._expert = expert
        self._outputs: list[Tensor] = []
        self._guided: Tensor | None = None
        self._eta = 0.0
        self._replaced = vars(scheduler).get("step")
        step = scheduler.step

        @functools.wraps(step)
        def watched(model_output: Any, *args: Any, **kwargs: Any) -> Any:
            self.stop()
            if isinstance(model_output, Tensor):
                self._guided = model_output
            self._eta = float(kwargs.get("eta") or 0.0)
            return step(model_output, *args, **kwargs)

        self._watched = scheduler.step = watched

    def see(self, output: Any) -> None:
        """Take note of what the model returned at this step."""
        self._outputs += tensors_in(output)[:1]

    def stop(self) -> None:
        """Put back the scheduler's `step`; does nothing where it is back."""
        if vars(self._scheduler).get("step") is not self._watched:
            return
        del self._scheduler.step
        if self._replaced is not None:
            self._scheduler.step = self._replaced

    def seen(self) -> Sampling:
        """What was seen; this reads from the device."""
        if self._guided is None:
            return Sampling(None, self._eta, expert=self._expert)
        scale = guidance_scale(self._outputs, self._guided)
        return Sampling(scale, self._eta, self._guided[0].numel(), self._expert)


def guidance_scale(outputs: list[Tensor], guided: Tensor) -> float | None:
    """The scale at which two branches were combined, 1 for a single branch; None if unknown.

    Guidance gives u + s (c - u), some pipelines rescaled token by token. So that this does not
    matter, s is what makes the combination parallel to the guided output: the least squares of
    P u + s P (c - u), where P projects away the guided output's direction.

    Args:
        outputs: what the model returned at each call of a step, `(batch, ...)`; both branches may
            be in one batch.
        guided: what the scheduler was given, `(samples, ...)`.
    """
    half = len(guided) // 2
    if len(guided) % 2 == 0 and torch.equal(guided[:half], guided[half:]):
        guided = guided[:half]  # DiT gives its samples twice
    channels = guided.shape[1] if guided.dim() > 1 else 0
    if any(x.dim() != guided.dim() or x.shape[2:] != guided.shape[2:] for x in outputs):
        return None
    calls = torch.cat([x[:, :channels] for x in outputs])  # others are a learned variance
    branches, rest = divmod(len(calls), len(guided))
    if calls.shape[1:] != guided.shape[1:] or rest or branches not in (1, 2):
        return None
    start = 2 if guided.dim() == 3 else 1  # tokens in a row are rescaled one by one
    unit = torch.nn.functional.normalize(guided.double().flatten(start), dim=-1)

    def across(x: Tensor) -> Tensor:
        flat = x.double().flatten(start)
        return flat - (flat * unit).sum(-1, keepdim=True) * unit

    first, *second = calls.split(len(guided))
    a, size = across(first), float(first.double().norm())
    if not second:
        return 1.0 if float(a.norm()) <= LEFT * size else None
    moved = second[0] - first
    d = across(moved)
    scale = float(-(a * d).sum() / (d * d).sum())
    left = float((a + scale * d).norm())
    error = left / float(d.norm()) / d.numel() ** 0.5
    if left > LEFT * (size + abs(scale) * float(moved.double().norm())):
        return None
    # Either branch may come first; the one that guidance leads towards weighs more.
    scale = max(scale, 1 - scale)
    return scale if error <= CERTAIN * scale else None
