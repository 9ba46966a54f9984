"""Rows at step times between those that were calibrated."""

from __future__ import annotations

import warnings

import numpy as np
import pytest
import torch

import forecastcache as fc
from forecastcache.calibration.calibration import Calibration
from forecastcache.calibration.fits import SizeFits
from forecastcache.calibration.identity import Identity, versions
from forecastcache.calibration.interpolate import Interpolated
from forecastcache.errors import TrajectoryError
from forecastcache.step import Step

from .toys import STEPS, Toy, curved, fit_of, rolls_of, starts

COMPUTED = (0, 3, 6, 9)


def shifted(shift: float) -> Toy:
    from diffusers import FlowMatchEulerDiscreteScheduler

    return Toy(curved, FlowMatchEulerDiscreteScheduler(shift=shift))


def size(shift: float) -> SizeFits:
    pipe, start = shifted(shift), starts(12)
    recording, rolls = rolls_of(pipe, start)
    return SizeFits(str(shift), recording, (fit_of(COMPUTED, rolls.fitted(COMPUTED).rows, 40.0),))


@pytest.fixture(scope="module")
def calibration() -> Calibration:
    """Of two sizes, the one with the higher noise levels first."""
    identity = Identity.of(shifted(2.0), STEPS, None)
    return Calibration(identity, (size(2.4), size(2.0)), versions())


def error(shift: float, predictor: fc.Predictor) -> float:
    pipe, start = shifted(shift), starts(20, seed=1)
    aim = pipe(start).images
    with fc.attach(pipe, fc.Listed(COMPUTED), predictor):
        return (pipe(start).images - aim).square().mean().item()


def test_a_size_between_is_served_nearly_as_well_as_by_its_own_rows(calibration):
    own = Calibration(calibration.identity, (size(2.2),), versions())
    with pytest.warns(UserWarning, match="lie between those that were calibrated"):
        mixed = error(2.2, calibration.predictor(fc.Listed(COMPUTED)))
    mine = error(2.2, own.predictor(fc.Listed(COMPUTED)))
    assert mixed < 1.1 * mine
    assert mixed < 0.5 * error(2.2, fc.Taylor(order=1))


@pytest.mark.parametrize(("shift", "which"), [(2.4, 0), (2.0, 1)])
def test_a_calibrated_size_gets_its_own_rows_without_a_word(calibration, shift, which):
    predictor = calibration.predictor(fc.Listed(COMPUTED))
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        mixed = error(shift, predictor)
    alone = Calibration(calibration.identity, (calibration.sizes[which],), versions())
    assert mixed == pytest.approx(error(shift, alone.predictor(fc.Listed(COMPUTED))), rel=1e-3)


def test_past_the_tolerance_they_are_refused(calibration):
    with pytest.raises(TrajectoryError, match="a size between those calibrated, calibrate at"):
        error(4.0, calibration.predictor(fc.Listed(COMPUTED)))


def test_rows_are_mixed_as_the_time_lies():
    def fit(weight: float) -> fc.Learned:
        return fc.Learned([{"target": 1, "computed": [0], "weights": [weight]}])

    low, high = (1.0, 0.2, 0.0), (1.0, 0.4, 0.0)
    predictor = Interpolated(fits=(fit(1.0), fit(3.0)), times=(low, high))
    with pytest.warns(UserWarning, match="two nearest are mixed"):
        row = predictor.weights([Step(0, 1.0)], Step(1, 0.25))
    np.testing.assert_allclose(row, [1.5])
    assert predictor.total == 3
    with pytest.raises(TrajectoryError, match="fitted on 3 steps, but the trajectory has 4"):
        predictor.check(4, (0,))
    clone = Interpolated.model_validate_json(predictor.model_dump_json())
    assert clone == predictor


def test_fits_that_all_sizes_have_are_offered(calibration):
    more = fit_of((0, 5), calibration.fits[0].rows, 50.0)
    assert calibration.with_fits([more]).fits == calibration.fits
    assert calibration.with_fits([more], 0).with_fits([more], 1).fits[0] == more


def test_a_file_of_two_sizes_is_saved_and_loaded(calibration, tmp_path):
    calibration.save(tmp_path / "two.cal")
    again = Calibration.load(tmp_path / "two.cal")
    assert [it.name for it in again.sizes] == ["2.4", "2.0"]
    for mine, its in zip(calibration.sizes, again.sizes):
        np.testing.assert_array_equal(mine.recording.gram, its.recording.gram)
        assert mine.fits == its.fits
    assert torch.is_grad_enabled()


def test_within_the_tolerance_of_one_fit_a_line_says_so(calibration):
    alone = Calibration(calibration.identity, (calibration.sizes[1],), versions())
    with pytest.warns(UserWarning, match="by less than the tolerance of 1.0%"):
        error(2.02, alone.predictor(fc.Listed(COMPUTED)))
