"""A calibration small enough to make in every test file that needs one."""

from __future__ import annotations

import pytest

from forecastcache.calibration.artifact import Calibration
from forecastcache.calibration.closed_loop import roll
from forecastcache.calibration.identity import Identity, versions
from forecastcache.calibration.recording import record
from forecastcache.calibration.sizes import Fit, Size

from .toys import STEPS, Toy, curved, starts

COMPUTED = (0, 3, 6, 9)


@pytest.fixture(scope="module")
def calibration() -> Calibration:
    pipe, start = Toy(curved), starts(10)
    recording, plain = record(pipe, lambda: pipe(start), len(start))
    rolled = roll(pipe, lambda: pipe(start), plain, recording.motion, COMPUTED)
    identity = Identity.of(pipe, STEPS, 2.5)
    fit = Fit(computed=COMPUTED, rows=rolled.rows, psnr_db=40.0)
    return Calibration(identity, (Size("6", recording),), versions()).with_fits([fit])
