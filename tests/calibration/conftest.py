"""A calibration small enough to make in every test file that needs one."""

from __future__ import annotations

import pytest

from forecastcache.calibration.calibration import Calibration
from forecastcache.calibration.fits import SizeFits
from forecastcache.calibration.identity import Identity, versions

from .toys import STEPS, Toy, curved, fit_of, rolls_of, starts

COMPUTED = (0, 3, 6, 9)


@pytest.fixture(scope="module")
def calibration() -> Calibration:
    pipe, start = Toy(curved), starts(10)
    recording, rolls = rolls_of(pipe, start)
    rolled = rolls.fitted(COMPUTED)
    identity = Identity.of(pipe, STEPS, 2.5)
    fit = fit_of(COMPUTED, rolled.rows, 40.0)
    return Calibration(identity, (SizeFits("6", recording),), versions()).with_fits([fit])
