"""Calls that are sampled side by side are as one batch of them would be."""

from __future__ import annotations

from functools import partial

import numpy as np
import pytest
import torch

from forecastcache.calibration.distributed import Shard
from forecastcache.calibration.lock_step import LockStep, Sampled
from forecastcache.calibration.refine import Linearised
from forecastcache.calibration.rolling import Rolls
from forecastcache.errors import CalibrationError

from ..calibration.toys import STEPS, Toy, curved, rolls_of, starts

COMPUTED = (0, 3, 6, 9, 11)


def side_by_side(steps: tuple[int, ...] = (STEPS, STEPS, STEPS)) -> tuple[Rolls, Rolls]:
    """Six samples as one batch, and as three calls of one, two and three."""
    pipe, start = Toy(curved), starts(6)
    _, batch = rolls_of(pipe, start)
    calls = []
    for part, count in zip(start.split([1, 2, 3]), steps):
        own = Toy(curved)
        own.transformer = pipe.transformer
        calls.append(Sampled(own, partial(own, part, count), len(part)))
    lock_step = LockStep(calls)
    apart = Rolls(
        pipe,
        lock_step.run,
        batch.plain,
        batch.motion,
        shard=Shard((1, 2, 3), 3),
        lock_step=lock_step,
    )
    return batch, apart


def test_rows_and_ends_are_those_of_one_batch():
    batch, apart = side_by_side()
    one, other = batch.fitted(COMPUTED), apart.fitted(COMPUTED)
    for row, same in zip(one.rows, other.rows, strict=True):
        np.testing.assert_allclose(row.weights, same.weights, rtol=1e-5, atol=1e-7)
    torch.testing.assert_close(other.final, one.final)
    assert apart.evaluations == batch.evaluations == 6 * len(COMPUTED)


def test_rows_that_are_given_are_rolled_as_in_one_batch():
    batch, apart = side_by_side()
    rows = batch.fitted(COMPUTED).rows
    torch.testing.assert_close(
        apart.replayed(COMPUTED, rows).final, batch.replayed(COMPUTED, rows).final
    )


def test_a_refinement_sees_what_it_sees_of_one_batch():
    batch, apart = side_by_side()
    rolled, numbers = batch.fitted(COMPUTED), torch.arange(6)
    one, other = (
        Linearised(rolls, rolls.replayed(COMPUTED, rolled.rows)).normals(rolled.final, numbers)
        for rolls in (batch, apart)
    )
    np.testing.assert_allclose(other, one, rtol=2e-2, atol=1e-3 * np.abs(one).max())
    assert apart.evaluations == batch.evaluations - 6 * len(COMPUTED)


def test_calls_of_other_lengths_are_refused():
    _, apart = side_by_side((STEPS, STEPS, 10))
    with pytest.raises(CalibrationError, match="fewer steps than others"):
        apart.fitted(COMPUTED[:-1])


def test_what_fails_in_one_call_is_raised_and_ends_the_others():
    _, apart = side_by_side()
    assert apart.lock_step is not None
    broken = apart.lock_step.calls[1].pipe.scheduler

    def step(*args, **kwargs):
        raise RuntimeError("no more")

    broken.step = step
    with pytest.raises(RuntimeError, match="no more"):
        apart.fitted(COMPUTED)
