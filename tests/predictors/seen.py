"""Histories that show something beside their features."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

import forecastcache as fc
from forecastcache.history import Beside


def history_beside(
    steps: Sequence[fc.Step], features: Sequence[Tensor], need: str, shown: Sequence[Tensor]
) -> fc.History:
    """A history of features, with one tensor more shown than there are: that of now."""
    seen = Beside(fc.History(len(steps)))
    history = fc.History(len(steps), beside={need: seen})
    for step, feature, tensor in zip(steps, features, shown):
        history.observe(step, feature)
        seen.now = tensor
        seen.keep(step)
    seen.now = shown[-1]
    return history


def rand(seed: int, *shape: int) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)
