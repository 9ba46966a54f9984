"""What is offered: rolled figures apart from foretold ones, and never less for more."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import forecastcache as fc
from forecastcache.calibration.calibration import Calibration
from forecastcache.calibration.fits import Fit
from forecastcache.calibration.offers import band

from .conftest import COMPUTED
from .toys import STEPS

ROLLED = {(0, 6): 25.0, (0, 4, 8): 38.0, COMPUTED: 36.0, (0, 2, 4, 6, 8): 41.0}


@pytest.fixture(scope="module")
def rolled(calibration) -> Calibration:
    """One with rolls of two to five computed steps, of which four are behind three."""
    fits = [
        Fit(
            computed=computed,
            rows=calibration.predictor(fc.Listed(computed), "simulated").rows,
            latent_psnr_db=psnr,
        )
        for computed, psnr in ROLLED.items()
    ]
    return calibration.with_fits(fits)


def without_fits(calibration: Calibration) -> Calibration:
    return replace(calibration, sizes=(replace(calibration.sizes[0], fits=()),))


def guided_outside(calibration: Calibration) -> Calibration:
    """The same, recorded of a pipeline that guides by a second output of the model."""
    size = calibration.sizes[0]
    both = np.concatenate([size.recording.branches] * 2)
    return replace(
        calibration, sizes=(replace(size, recording=replace(size.recording, branches=both)),)
    )


def test_more_computed_steps_are_never_worse(rolled):
    figures = [rolled.offer(count).latent_psnr_db for count in range(2, STEPS)]
    assert figures == [25.0, 38.0, 38.0, *[41.0] * 7]
    schedule, predictor = rolled.choose(4)
    assert schedule.steps == (0, 4, 8)
    assert predictor.learned.rows == rolled.predictor(fc.Listed((0, 4, 8))).rows
    assert [offer.computed for offer in rolled.offers()][1:-1] == [
        (0, 6),
        (0, 4, 8),
        (0, 2, 4, 6, 8),
    ]


def test_all_steps_are_exact(rolled):
    for offer in (rolled.offer(STEPS), rolled.offers()[-1], rolled.frontier()[-1]):
        assert offer == fc.Offer(tuple(range(STEPS)), "exact", None, None, None)
    schedule, _ = rolled.choose(STEPS)
    assert schedule.steps == tuple(range(STEPS))


def test_a_figure_is_either_rolled_or_foretold(rolled):
    *forecasting, _ = rolled.frontier()
    for offer in forecasting:
        if offer.loop == "closed":
            assert offer.latent_psnr_db == ROLLED[offer.computed]
            assert offer.foretold_latent_psnr_db is None
        else:
            assert offer.latent_psnr_db is None
        assert (offer.band_db is not None) == (offer.loop == "simulated")


def test_the_band_is_learned_from_the_same_file(rolled):
    """It holds every schedule that has both figures, and is as wide as they disagree."""
    gaps = [
        psnr - 10 * np.log10(4 / rolled._simulated(rolled.sizes[0], computed).error)
        for computed, psnr in ROLLED.items()
    ]
    offer = rolled.offer(1)
    low, high = offer.band_db
    assert high == pytest.approx(offer.foretold_latent_psnr_db + max(gaps))
    assert low == pytest.approx(offer.foretold_latent_psnr_db + min(gaps) - np.std(gaps, ddof=1))


@given(gaps=st.lists(st.floats(-30, 30), max_size=6), foretold=st.floats(0, 90))
def test_a_band_needs_three_gaps_and_holds_them(gaps, foretold):
    found = band(foretold, gaps)
    assert (found is None) == (len(gaps) < 3)
    if found is not None:
        assert all(found[0] - 1e-9 <= foretold + gap <= found[1] + 1e-9 for gap in gaps)


def test_a_file_of_few_rolls_has_no_band(calibration):
    simulated = [offer for offer in calibration.frontier() if offer.loop == "simulated"]
    assert {offer.band_db for offer in simulated} == {None}


def test_no_simulation_is_offered_where_guidance_is_outside_the_network(calibration):
    bare = without_fits(calibration)
    assert bare.offer(3).loop == "simulated"
    outside = guided_outside(bare)
    assert outside.offer(3).loop == "open"
    assert {offer.loop for offer in outside.frontier()} == {"open", "exact"}
    with pytest.warns(fc.ForecastCacheWarning, match="rows of the open loop are foretold"):
        outside.choose(3)
    assert outside.predictor(fc.Listed((0, 5)), "simulated").rows  # asked for by name


def test_the_old_name_of_a_figure_goes_on(calibration):
    with pytest.warns(DeprecationWarning, match="latent_psnr_db"):
        assert calibration.offer(4).psnr_db == 40.0
