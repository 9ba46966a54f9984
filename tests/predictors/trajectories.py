"""Steps and features that the predictors' tests share."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
import torch
from hypothesis import strategies as st

import forecastcache as fc

# Rising, uneven steps: what a predictor can meet.
gaps = st.lists(st.integers(1, 9), min_size=0, max_size=6)
offsets = st.integers(1, 9)


def steps_at(indices: Sequence[int]) -> list[fc.Step]:
    """Steps with a time and a noise level of their own, neither even where the indices are."""
    return [
        fc.Step(i, (1 - i / 200) ** 2, 200, logsnr=0.1 * i + 0.001 * i * i - 6) for i in indices
    ]


def steps_from(gaps: Sequence[int]) -> list[fc.Step]:
    return steps_at(np.cumsum([0, *gaps]).tolist())


def ahead(computed: Sequence[fc.Step], k: int) -> fc.Step:
    (step,) = steps_at([computed[-1].index + k])
    return step


def history_of(
    depth: int, steps: Sequence[fc.Step], feature: Callable[[int], np.ndarray]
) -> fc.History:
    """A history of float64 features, `feature(index)` at each step."""
    history = fc.History(depth)
    for step in steps:
        history.observe(step, torch.from_numpy(np.atleast_1d(feature(step.index)).astype(float)))
    return history
