"""What is offered: rolled figures apart from foretold ones, and never less for more."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

import forecastcache as fc
from forecastcache import zoo
from forecastcache.calibration.calibration import Calibration
from forecastcache.calibration.fit import SizeFitter
from forecastcache.calibration.fits import decibels
from forecastcache.calibration.foretelling import Foretelling, interpolated, missed
from forecastcache.calibration.offers import band
from forecastcache.calibration.output_cache import OutputCache
from forecastcache.calibration.schedule_search import resampled

from .conftest import COMPUTED
from .toys import STEPS, Toy, curved, fit_of, rolls_of, starts

GAPS = {(0, 6): -2.0, (0, 4, 8): -3.0, (0, 3, 6, 9): 0.5, (0, 2, 4, 6, 8): -1.0}
ROLLED = {(0, 6): 25.0, (0, 4, 8): 38.0, COMPUTED: 36.0, (0, 2, 4, 6, 8): 41.0}


@pytest.fixture(scope="module")
def rolled(calibration) -> Calibration:
    """One with rolls of two to five computed steps, of which four are behind three."""
    fits = [
        fit_of(
            computed, calibration.predictor(fc.Listed(computed), "simulated").rows, psnr
        ).model_copy(update={"unrolled_gap_db": GAPS[computed]})
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


def test_the_band_is_learned_by_leaving_counts_out(rolled):
    """Of each count what came of what the others offer, less what was simulated of it."""
    foretelling = Foretelling(rolled.recording, rolled.fits)
    gaps = dict(zip((2, 3, 4, 5), GAPS.values()))

    def mended(count: int, known: list[int]) -> float:
        return float(np.interp(np.log(count), np.log(known), [gaps[it] for it in known]))

    missed = [gaps[it] - mended(it, [known for known in gaps if known != it]) for it in gaps]
    offer = rolled.offer(1)
    expected = decibels(foretelling.simulated(offer.computed).error) + mended(1, list(gaps))
    assert offer.foretold_latent_psnr_db == pytest.approx(expected)
    spread = 2 * np.std(missed, ddof=1)
    assert offer.band_db == pytest.approx(
        (expected + min(*missed, 0) - spread, expected + max(*missed, 0) + spread)
    )
    assert not offer.interpolated


def test_what_would_be_offered_of_a_count_is_rolled():
    """As it is offered: by the fits of the other counts alone."""
    recording, rolls = rolls_of(Toy(curved), starts(10))
    fitter = SizeFitter(rolls, recording, torch.arange(10), OutputCache())
    fits = [
        fitter.fit(steps, False, lambda *_: None) for steps in ((0, 6), (0, 4, 8), (0, 3, 6, 9))
    ]
    gap = fitter.unrolled_gap(fits, 3)
    steps = resampled((0, 6), 3, STEPS)
    others = Foretelling(recording, [fits[0], fits[2]])
    assert others.unrolled(3) == steps
    simulated = others.simulated(steps)
    final = rolls.replayed(steps, simulated.rows).final
    came = -10 * (rolls.missed(final) / 4).log10().mean().item()
    assert gap == pytest.approx(came - decibels(simulated.error))
    assert fitter.unrolled_gap(fits[:1], 2) is None


def test_what_lies_between_counts_that_were_rolled_is_interpolated(calibration):
    """At the steps of the nearest count, stretched."""
    fits = [
        fit_of(steps, calibration.predictor(fc.Listed(steps), "simulated").rows, psnr)
        for steps, psnr in (((0, 6), 25.0), ((0, 1, 2, 4, 6, 8, 9, 10), 60.0))
    ]
    both = without_fits(calibration).with_fits(fits)
    offers = {len(it.computed): it for it in both.frontier() if it.loop == "simulated"}
    assert [it.interpolated for it in offers.values()] == [False, *[True] * 5, *[False] * 3]
    assert offers[7].computed == (0, 1, 3, 5, 7, 9, 10)


def test_a_single_prompt_has_nothing_to_judge_it(calibration):
    """Its figure is foretold, of the prompt that the rows were fitted to."""
    fit = calibration.fits[0].model_copy(update={"latent_psnr_db": None})
    alone = calibration.with_fits([fit])
    assert alone.offer(4) == fc.Offer(COMPUTED, "closed", None, 40.0, None)
    with pytest.warns(fc.ForecastCacheWarning, match="was rolled on samples that it was not fit"):
        alone.choose(4)


@given(gaps=st.lists(st.floats(-30, 30), max_size=6), foretold=st.floats(0, 90))
def test_a_band_needs_three_gaps_and_holds_them(gaps, foretold):
    found = band(foretold, gaps)
    assert (found is None) == (len(gaps) < 3)
    if found is not None:
        assert all(found[0] - 1e-9 <= foretold + gap <= found[1] + 1e-9 for gap in [0, *gaps])


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


@pytest.mark.parametrize("name", sorted(zoo.calibrated()))
def test_what_ships_foretells_what_came_nine_times_of_ten(name):
    """Of each count, by the counts that are left: the figure of what would have been offered."""
    calibration = Calibration.load(zoo.PREFIX + name)
    gaps = Foretelling(calibration.recording, calibration.fits).gaps
    assert {*range(4, 19)} <= {*gaps}
    within = 0
    for count, gap in gaps.items():
        others = {it: gaps[it] for it in gaps if it != count}
        low, high = band(interpolated(count, others), missed(others))
        within += low <= gap <= high
    assert within >= 0.9 * len(gaps)
