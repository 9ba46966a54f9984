"""Taylor against the TaylorSeer of diffusers and of cache-dit, fed the same features."""

from __future__ import annotations

import pytest
import torch
from diffusers.hooks.taylorseer_cache import TaylorSeerState

import forecastcache as fc

from .trajectories import steps_at

# As it comes at cache_interval=5, disable_cache_before_step=3: the first gaps are uneven.
COMPUTED = (0, 1, 2, 4, 9, 14, 19, 24, 29, 34, 39, 44, 49)


@pytest.mark.parametrize("dtype", [torch.float64, torch.float32])
@pytest.mark.parametrize("order", [0, 1, 2, 3, 4])
def test_taylor_equals_diffusers_on_its_own_schedule(order, dtype):
    generator = torch.Generator().manual_seed(0)
    drift = torch.randn(4, 3, 5, generator=generator, dtype=torch.float64)
    taylor = fc.Taylor(order, guard=0)  # diffusers has none
    history = fc.History(taylor.depth)
    theirs = TaylorSeerState(taylor_factors_dtype=dtype, max_order=order)
    compared = 0
    for step in steps_at(range(50)):
        theirs.current_step = step.index
        t = step.index / 50
        feature = (drift[0] + drift[1] * t + drift[2] * t**2 + drift[3] / (0.2 + t)).to(dtype)
        if step.index in COMPUTED:
            theirs.update((feature,))
            history.observe(step, feature)
            continue
        (expected,) = theirs.predict()
        # Theirs rounds every difference to the dtype; ours only weights and sums.
        gain = abs(taylor.row(history.steps, step)).sum()
        largest = max(float(f.abs().max()) for f in history.features)
        tolerance = 10 * torch.finfo(dtype).eps * gain * largest * 10**order
        ours = taylor.forecast(history, step)
        torch.testing.assert_close(ours, expected, rtol=0, atol=tolerance)
        assert ours.dtype == expected.dtype
        compared += 1
    assert compared == 37


@pytest.mark.parametrize("first", [1, 2, 3, 4])
@pytest.mark.parametrize("order", [1, 2, 3, 4])
def test_taylor_equals_the_state_of_cache_dit(order, first):
    """Its state forms differences at a computed step above 1, whatever the warm-up: guard 3."""
    calibrators = pytest.importorskip("cache_dit.caching.cache_contexts.calibrators.taylorseer")
    generator = torch.Generator().manual_seed(0)
    drift = torch.randn(4, 3, 5, generator=generator, dtype=torch.float64)
    taylor = fc.Taylor(order, guard=3)
    for interval in range(2, 9):
        computed = fc.Every(interval, first=first).computed(50)
        history = fc.History(taylor.depth)
        theirs = calibrators.TaylorSeerState(order, first, interval)
        for step in steps_at(range(50)):
            t = step.index / 50
            feature = drift[0] + drift[1] * t + drift[2] * t**2 + drift[3] / (0.2 + t)
            expected = theirs.step(feature)
            if step.index in computed:
                history.observe(step, feature)
                assert expected is feature
            else:
                ours = taylor.forecast(history, step)
                torch.testing.assert_close(ours, expected, rtol=0, atol=1e-11)
