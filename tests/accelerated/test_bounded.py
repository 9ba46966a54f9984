"""Fits take no more of the network than they may, and use what they may."""

from __future__ import annotations

import pytest
import torch

from forecastcache.accelerated.bounded import BoundedFits
from forecastcache.accelerated.goal import Goal
from forecastcache.calibration.fit import SizeFitter
from forecastcache.calibration.output_cache import OutputCache
from forecastcache.calibration.targets import refinement
from forecastcache.errors import CalibrationError

from ..calibration.toys import STEPS, Toy, curved, rolls_of, starts

SAMPLES = 3


def fits_within(bound: float) -> BoundedFits:
    recording, rolls = rolls_of(Toy(curved), starts(SAMPLES))
    fitter = SizeFitter(rolls, recording, torch.arange(SAMPLES), OutputCache())
    return BoundedFits(fitter, bound, lambda *_: None)


@pytest.mark.parametrize("count", [2, 3, 5])
@pytest.mark.parametrize("runs", [3, 4, 7])
def test_what_it_may_take_holds_and_is_used(count, runs):
    bounded = fits_within(runs * STEPS)
    (fit,) = bounded.of(Goal(computed=count), [])
    assert len(fit.computed) == count
    assert bounded.left >= 0
    assert count < 5 or bounded.left < runs * STEPS / 2  # there are few schedules of few steps


def test_rows_are_refined_where_there_is_room_for_it():
    count = 3
    ample = fits_within(2 * refinement(count, STEPS) + 20)
    stages = set()
    refined = BoundedFits(ample.fitter, ample.bound, lambda it, *_: stages.add(it))
    refined.of(Goal(computed=count), [])
    assert f"refining {count}" in stages
    stages.clear()
    tight = fits_within(2 * refinement(count, STEPS) - 1)
    BoundedFits(tight.fitter, tight.bound, lambda it, *_: stages.add(it)).of(
        Goal(computed=count), []
    )
    assert stages == {f"searching {count}"}


def test_too_little_is_refused_with_the_least():
    with pytest.raises(CalibrationError, match=r"takes 1\.3 plain runs at least"):
        fits_within(15).of(Goal(computed=4), [])
