"""Fingerprints of weights: every number counts, the dtype that they were loaded in does not."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from forecastcache._util.fingerprint import weights_fingerprint
from forecastcache.calibration.identity import Identity, Part
from forecastcache.errors import ForecastCacheWarning


def network() -> nn.Linear:
    """Weights that bfloat16 holds exactly, more than are summed at once."""
    made = nn.Linear(50, 61)
    with torch.no_grad():
        made.weight.copy_(torch.arange(3050).remainder(97).view(61, 50))
    return made.requires_grad_(False)


@pytest.mark.parametrize("place", [0, 17, 1023, 1024, 3049])
def test_every_weight_counts(place):
    one, other = network(), network()
    other.load_state_dict(one.state_dict())
    assert weights_fingerprint(one) == weights_fingerprint(other)
    other.weight.view(-1)[place] += 1
    assert weights_fingerprint(one) != weights_fingerprint(other)


def test_bfloat16_has_the_fingerprint_of_float32():
    wide = network()
    before = weights_fingerprint(wide)
    assert weights_fingerprint(wide.to(torch.bfloat16)) == before
    assert weights_fingerprint(wide.to("meta")) is None


def test_other_weights_get_a_warning():
    part = Part(name="M", config="c")
    mine = Identity(model=part, scheduler=part, steps=3, guidance=None, weights="a")
    mine.require(mine)
    mine.require(mine.model_copy(update={"weights": None}))
    with pytest.warns(ForecastCacheWarning, match="of other weights of M: its figures are not of"):
        mine.require(mine.model_copy(update={"weights": "b"}))
