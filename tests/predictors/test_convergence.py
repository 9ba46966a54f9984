"""How fast the error falls with the spacing of the computed steps, against what is claimed."""

from __future__ import annotations

import numpy as np
import pytest
import torch

import forecastcache as fc
from forecastcache.registry import PREDICTORS

from ..built_ins import shipped

CLAIMED = [
    (fc.Reuse(), 1),
    *((fc.Taylor(order), 2) for order in (1, 2, 3, 4)),
    *((fc.Newton(order), order + 1) for order in (0, 1, 2, 3, 4)),
    (fc.Newton(2, "time"), 3),
    (fc.Hermite(2), 1),
    (fc.Hermite(1, 2**-0.5), 2),
    *((fc.BDF(order, corrected), order + 1) for order in (1, 2) for corrected in (False, True)),
    (fc.Blend(fc.Newton(2), fc.Newton(3)), 3),
    (fc.Exponential(1), 2),
    (fc.Exponential(2), 3),
    (fc.VariableOrder(), 2),
    (fc.Repay(), 1),
    *((fc.ResilPhase(order), 1) for order in (1, 2, 3)),
    *((fc.ResilPhase(order, "chebyshev"), order + 1) for order in (1, 2)),
]


UNCLAIMED = {"bands", "learned"}  # of what they are made of, or fitted to
UNCLAIMED |= {"meanvelocity", "tap", "twoanchor"}  # of what they see beside the features


def test_every_predictor_that_ships_claims_an_order():
    claimed = {type(predictor) for predictor, _ in CLAIMED}
    assert claimed == {PREDICTORS.get(name) for name in {*shipped(PREDICTORS)} - UNCLAIMED}


def trajectory(t: float) -> torch.Tensor:
    """Smooth in many directions, with every derivative of order 1."""
    return torch.tensor([np.sin(t + 0.3), np.exp(-t), np.cos(1.7 * t), 1 / (1.5 + t)])


def error(predictor: fc.Predictor, spacing: float) -> float:
    """Of one forecast five sixths of a gap ahead, with steps every sixth of `spacing`."""
    history = fc.History(predictor.depth)

    def step(index: int) -> fc.Step:
        return fc.Step(index, index * spacing / 6)

    for j in range(predictor.depth):
        # The newest computed step stays where it is while the others close in on it.
        at = step(6 * j)
        history.observe(at, trajectory(at.time - step(6 * (predictor.depth - 1)).time))
    target = step(6 * (predictor.depth - 1) + 5)
    expected = trajectory(5 * spacing / 6)
    return float((predictor.forecast(history, target) - expected).norm())


@pytest.mark.parametrize(("predictor", "claimed"), CLAIMED, ids=str)
def test_the_slope_is_the_claimed_order(predictor, claimed):
    spacings = 0.08 * 0.5 ** np.arange(5)
    errors = [error(predictor, spacing) for spacing in spacings]
    slope = np.polyfit(np.log(spacings), np.log(errors), 1)[0]
    assert slope == pytest.approx(claimed, abs=0.3)
