"""The file: what it gives, what it refuses."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from safetensors.torch import save_file

import forecastcache as fc
from forecastcache.calibration.calibration import Calibration
from forecastcache.calibration.fits import decibels
from forecastcache.calibration.foretelling import Foretelling
from forecastcache.calibration.gram import open_loop_rows
from forecastcache.calibration.identity import Identity
from forecastcache.calibration.io import Header, write_file
from forecastcache.errors import CalibrationError

from .conftest import COMPUTED
from .toys import STEPS, Toy, curved, starts


def test_saved_and_loaded_it_is_the_same(calibration, tmp_path):
    path = tmp_path / "deep" / "toy.cal"
    calibration.save(path)
    again = Calibration.load(path)
    assert (again.identity, again.versions) == (calibration.identity, calibration.versions)
    assert again.fits == calibration.fits
    for name in ("times", "gram", "branches", "products"):
        mine, its = getattr(calibration.recording, name), getattr(again.recording, name)
        np.testing.assert_array_equal(mine, its)
    assert [file.name for file in path.parent.iterdir()] == ["toy.cal"]
    assert path.stat().st_size < 20_000


def test_it_serves_any_schedule_in_open_loop(calibration):
    for schedule in (fc.Every(4, first=2), fc.Listed((0, 1, 7))):
        predictor = calibration.predictor(schedule, loop="open")
        rows = open_loop_rows(calibration.recording.gram, schedule.computed(STEPS))
        assert predictor.rows == rows
        with fc.attach(Toy(curved), schedule, predictor) as session:
            assert session.predictor.total == STEPS


def test_it_serves_in_closed_loop_what_was_fitted(calibration):
    assert calibration.predictor(fc.Listed(COMPUTED)).rows == calibration.fits[0].rows
    with pytest.raises(
        CalibrationError, match=r"for the steps 0 5 .*--schedule 0,5,.*'simulated'"
    ):
        calibration.predictor(fc.Listed((0, 5)))


def test_it_chooses(calibration):
    schedule, predictor = calibration.choose(4)
    assert schedule.steps == COMPUTED
    assert predictor.learned.rows == calibration.fits[0].rows
    with pytest.warns(fc.ForecastCacheWarning, match="at most 3 .* was rolled on .*search:3"):
        spread, foretold = calibration.choose(3)
    assert len(spread.steps) == 3
    assert foretold.learned.rows == calibration.predictor(spread, "simulated").rows
    pipe = Toy(curved)
    with fc.attach(pipe, *calibration.choose(4)) as session:
        pipe(starts(1))
    assert session.report().computed == COMPUTED


@pytest.mark.parametrize("count", [0, STEPS + 1])
def test_counts_that_cannot_be_are_refused(calibration, count):
    with pytest.raises(CalibrationError, match=f"from 1 to {STEPS}"):
        calibration.choose(count)


def test_a_better_fit_of_the_same_steps_replaces_the_old(calibration):
    better = calibration.fits[0].model_copy(update={"latent_psnr_db": 50.0})
    assert calibration.with_fits([better]).fits == (better,)


def test_what_is_no_calibration_is_refused(calibration, tmp_path):
    with pytest.raises(
        CalibrationError, match="is no file: make one with forecastcache calibrate"
    ):
        Calibration.load(tmp_path / "none.cal")
    foreign = tmp_path / "foreign.cal"
    save_file({"a": torch.ones(1)}, foreign)
    with pytest.raises(CalibrationError, match="is no calibration"):
        Calibration.load(foreign)
    whole = tmp_path / "whole.cal"
    calibration.save(whole)
    short = tmp_path / "short.cal"
    short.write_bytes(whole.read_bytes()[:-100])
    with pytest.raises(CalibrationError, match=r"short.cal is damaged.*calibrate again"):
        Calibration.load(short)


def test_a_newer_version_is_refused(calibration, tmp_path):
    header = Header.of(calibration.identity, calibration.versions, calibration.sizes)
    newer = header.model_copy(update={"version": 99})
    write_file(tmp_path / "newer.cal", newer, calibration.sizes)
    with pytest.raises(CalibrationError, match="of version 99, newer than 2: upgrade"):
        Calibration.load(tmp_path / "newer.cal")


def test_a_place_that_cannot_be_written_is_named(calibration, tmp_path):
    (tmp_path / "taken").mkdir()
    with pytest.raises(CalibrationError, match="taken cannot be written"):
        calibration.save(tmp_path / "taken")
    assert [file.name for file in tmp_path.iterdir()] == ["taken"]


@pytest.mark.parametrize(
    ("change", "complaint"),
    [
        ({"steps": 20}, "of 12 steps, but 20 are asked for: ask for 12, or calibrate with"),
        ({"guidance": 4.0}, "of guidance 2.5, but 4.0 is asked for"),
    ],
)
def test_another_request_is_refused(calibration, change, complaint):
    other = calibration.identity.model_copy(update=change)
    with pytest.raises(CalibrationError, match=complaint):
        calibration.identity.require(other)


def test_another_model_or_scheduler_is_refused(calibration):
    pipe = Toy(curved)
    calibration.identity.require(Identity.of(pipe, STEPS, 2.5))
    pipe.transformer.config = {"width": 4}
    with pytest.raises(CalibrationError, match="a Field of another configuration"):
        calibration.identity.require(Identity.of(pipe, STEPS, 2.5))
    from diffusers import DDIMScheduler

    other = Toy(curved, DDIMScheduler())
    with pytest.raises(CalibrationError, match="scheduler FlowMatch.*, but this is DDIMScheduler"):
        calibration.identity.require(Identity.of(other, STEPS, 2.5))


def test_the_frontier_has_every_count_and_what_was_fitted(calibration):
    offers = calibration.frontier()
    assert [len(offer.computed) for offer in offers] == list(range(1, STEPS + 1))
    assert offers[-1] == fc.Offer(tuple(range(STEPS)), "exact")
    assert [offer.computed for offer in offers if offer.loop == "closed"] == [COMPUTED]
    assert calibration.frontier([2, 4]) == (offers[1], offers[3])


def in_open_loop(calibration: Calibration) -> list[fc.Offer]:
    return Foretelling(calibration.recording, ()).in_open_loop(STEPS - 1)


def test_more_steps_in_open_loop_are_foretold_no_worse(calibration):
    opened = in_open_loop(calibration)
    assert [len(offer.computed) for offer in opened] == list(range(1, STEPS))
    figures = [offer.foretold_latent_psnr_db for offer in opened]
    assert all(a <= b + 1e-9 for a, b in zip(figures, figures[1:]))


def test_what_the_gram_matrix_foretells_is_near_what_happens(calibration):
    """On the prompts that it was recorded of, with the planned open-loop rows."""
    pipe, start = Toy(curved), starts(10)
    aim = pipe(start).images
    for offer in in_open_loop(calibration):
        if 5 <= len(offer.computed) <= 9:
            schedule = fc.Listed(offer.computed)
            with fc.attach(pipe, schedule, calibration.predictor(schedule, "open", depth=3)):
                error = (pipe(start).images - aim).square().mean().item()
            assert abs(decibels(error) - offer.foretold_latent_psnr_db) < 6


def test_the_simulated_loop_foretells_less_error_from_more_computed_steps(calibration):
    foretold = Foretelling(calibration.recording, ()).offers(range(1, STEPS))
    assert [len(offer.computed) for offer in foretold] == list(range(1, STEPS))
    few, some, many = (foretold[count - 1].foretold_latent_psnr_db for count in (2, 5, 9))
    assert few + 10 < some < many
