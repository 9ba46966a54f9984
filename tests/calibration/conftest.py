"""A calibration small enough to make in every test file that needs one."""

from __future__ import annotations

import pytest

from forecastcache.calibration.calibration import Calibration
from forecastcache.calibration.fit import roll
from forecastcache.calibration.fits import Fit, SizeFits
from forecastcache.calibration.identity import Identity, versions
from forecastcache.calibration.recording import record

from .toys import STEPS, Toy, curved, starts

COMPUTED = (0, 3, 6, 9)


@pytest.fixture(scope="module")
def calibration() -> Calibration:
    pipe, start = Toy(curved), starts(10)
    recording, plain = record(pipe, lambda: pipe(start), len(start))
    rolled = roll(pipe, lambda: pipe(start), plain, recording.motion, COMPUTED)
    identity = Identity.of(pipe, STEPS, 2.5)
    fit = Fit(computed=COMPUTED, rows=rolled.rows, latent_psnr_db=40.0)
    return Calibration(identity, (SizeFits("6", recording),), versions()).with_fits([fit])
