"""A whole calibration of a model that ships: resumable, exact about what it costs."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager

import numpy as np
import pytest
import torch

import forecastcache as fc
from forecastcache._util.swap import swapped
from forecastcache.calibration.calibrate import calibrate
from forecastcache.calibration.calibration import Calibration
from forecastcache.calibration.targets import Effort, FitTarget
from forecastcache.errors import CalibrationError, ForecastCacheError, ScheduleError
from forecastcache.sampling.loading import load
from forecastcache.sampling.request import Request
from forecastcache.sampling.trajectory import trajectory_of

from ..conftest import shell
from .toys import Guided

STEPS = 12
MODEL = "zoo:dit-digits"


@pytest.fixture(scope="module")
def pipe():
    pipe = load(MODEL)
    pipe.set_progress_bar_config(disable=True)
    return pipe


@contextmanager
def counted(pipe) -> Iterator[list[int]]:
    """The calls that reach the network, with the number of its samples."""
    calls, forward = list[int](), pipe.transformer.forward

    def count(hidden_states, *args, **kwargs):
        calls.append(len(hidden_states))
        return forward(hidden_states, *args, **kwargs)

    with swapped(pipe.transformer, "forward", count):
        yield calls


def request(count: int = 6, seed: int = 1000) -> Request:
    return Request.of(MODEL, steps=STEPS, count=count, seed=seed)


def test_killed_it_goes_on_with_the_next_prompts(pipe, tmp_path):
    class Killed(BaseException):
        pass

    def kill(stage: str, done: int, of: int) -> None:
        if (stage, done) == ("recording", 2):
            raise Killed

    out = tmp_path / "dit.cal"
    with pytest.raises(Killed):
        calibrate(pipe, [request()], out, (), micro_batch=2, progress=kill)
    assert not out.exists()
    with counted(pipe) as calls:
        resumed = calibrate(pipe, [request()], out, (), micro_batch=2)
    assert len(calls) == STEPS  # of the third part alone
    whole = calibrate(pipe, [request()], tmp_path / "whole.cal", (), micro_batch=2)
    np.testing.assert_array_equal(resumed.recording.gram, whole.recording.gram)
    assert sorted(file.name for file in tmp_path.iterdir()) == ["dit.cal", "whole.cal"]


def test_micro_batches_change_nothing(pipe, tmp_path):
    small, large = (
        calibrate(pipe, [request()], tmp_path / f"{size}.cal", (), micro_batch=size)
        for size in (2, 6)
    )
    np.testing.assert_allclose(small.recording.gram, large.recording.gram, rtol=1e-4)
    assert small.recording.prompts == large.recording.prompts == 6
    assert small.recording.sample_elements == pipe.transformer.config.in_channels * 8 * 8


def test_closed_loop_rows_serve_other_seeds(pipe, tmp_path):
    computed = (0, 3, 6, 9, 11)
    told: list[tuple[str, int, int]] = []
    calibrate(
        pipe, request(12), tmp_path / "dit.cal", [fc.Listed(computed)],
        progress=lambda *it: told.append(it),
    )  # fmt: skip
    assert ("fitting", 1, 1) in told
    others = request(8, seed=5)
    with trajectory_of(pipe, 8) as plain:
        others.sample(pipe)

    def error(predictor: fc.Predictor) -> float:
        with trajectory_of(pipe, 8) as track, fc.attach(pipe, fc.Listed(computed), predictor):
            others.sample(pipe)
        return (track.samples[-1] - plain.samples[-1]).square().mean().item()

    again = Calibration.load(tmp_path / "dit.cal")
    closed = error(again.predictor(fc.Listed(computed)))
    assert closed < error(fc.Taylor(order=1))
    assert closed < error(fc.Reuse())


def test_a_search_ends_no_farther_than_it_began(pipe, tmp_path):
    calibration = calibrate(pipe, [request(8)], tmp_path / "dit.cal", ["search:4"], tries=8)
    (fit,) = calibration.fits
    assert (len(fit.computed), fit.computed[0]) == (4, 0)
    even = calibrate(pipe, [request(8)], tmp_path / "even.cal", ["0,4,7,11"])
    assert fit.latent_psnr_db >= even.fits[0].latent_psnr_db - 1e-6


def test_the_cost_is_known_beforehand():
    targets = [FitTarget.of("0,3,6", STEPS), FitTarget.of("search:4", STEPS)]
    effort = Effort.within([10, 4], STEPS, targets, tries=7, bound=10**6)
    assert effort.record == 14 * 12
    assert effort.search == 10 * 4 * 7  # at the first size alone
    assert effort.fit == 14 * 6 * (3 + 4)  # of all, without each quarter, and what they spare
    looks = (1 * 2 + 2 * 1) + (1 * 3 + 2 * 2 + 3 * 1)  # freedoms times the steps after each gap
    assert effort.refine == 14 * (looks + 7 * (3 + 4))
    assert effort.total == effort.record + effort.search + effort.fit + effort.refine


def test_a_bound_is_kept_first_by_refining_less_then_by_trying_less():
    targets = [FitTarget(count) for count in (4, 5, 6)]
    whole = Effort.within([2], 20, targets, tries=9, bound=10**6)
    assert (whole.refined, whole.tries) == (3, 9)
    least = 2 * (20 + 7 * 15)  # plain, one try and six rolls of each
    for bound in range(whole.total, least - 1, -7):
        effort = Effort.within([2], 20, targets, tries=9, bound=bound)
        assert effort.total <= bound
        assert effort.refined == 0 or effort.tries == 9
    with pytest.raises(CalibrationError, match=f"takes {least} .*, but .* {least - 1}: allow"):
        Effort.within([2], 20, targets, tries=9, bound=least - 1)


def test_what_is_searched_counts_what_the_network_computed(pipe, tmp_path):
    with counted(pipe) as calls:
        made = calibrate(
            pipe, [request(4)], tmp_path / "dit.cal", ["search:3"], tries=5, evaluations=10**6
        )
    assert made.evaluations == 4 * len(calls)
    assert Calibration.load(tmp_path / "dit.cal").evaluations == made.evaluations
    most = Effort.within([4], STEPS, [FitTarget(3)], tries=5, bound=10**6)
    assert made.evaluations <= most.total


@pytest.mark.parametrize(
    ("text", "computed"),
    [
        ("every:4", (0, 1, 2, 6, 10)),
        ("every:4,first=1", (0, 4, 8)),
        ("0,5,7", (0, 5, 7)),
        ("search:5", None),
    ],
)
def test_schedules_are_read(text, computed):
    target = FitTarget.of(text, STEPS)
    assert target.computed == computed
    assert target.count == (5 if computed is None else len(computed))


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        ("every:0", "interval='0', but input should be greater than or equal to 1"),
        ("search:x", "is no schedule"),
        ("search:13", "13 steps of 12 cannot be computed"),
        ("", "is no schedule"),
        ("a,b", "is no schedule"),
    ],
)
def test_schedules_that_are_none_are_refused(text, complaint):
    with pytest.raises(ForecastCacheError, match=complaint):
        FitTarget.of(text, STEPS)
    with pytest.raises(ScheduleError, match="step 12"):
        FitTarget.of("0,12", STEPS)


def test_one_prompt_serves_but_is_judged_by_nothing(pipe):
    with pytest.warns(fc.ForecastCacheWarning, match="of a single prompt: its rows fit that one"):
        made = calibrate(pipe, [request(1)], schedules=["0,3,6"])
    assert made.fits[0].latent_psnr_db is None
    assert made.offer(3).foretold_latent_psnr_db == made.fits[0].fitted_latent_psnr_db
    assert torch.is_grad_enabled()


def test_nothing_to_record_is_refused(pipe, tmp_path):
    for targets in ([], ["0,3,6"]):
        with pytest.raises(CalibrationError, match="no requests to record: give one for each siz"):
            calibrate(pipe, [], tmp_path / "none.cal", targets)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("conditions", "fewest"),
    [
        (lambda step: [1.0, -1.0] if step < 6 else [1.0], 6),  # the second half of it off
        (lambda step: [-1.0, 1.0] if step < 4 else [1.0], 4),  # the one called first is off
        (lambda step: [1.0] if step < 6 else [1.0, -1.0], 6),  # the first half of it off
        (lambda step: [1.0] if step < 6 else [-1.0, 1.0], 6),
        (lambda step: [1.0] if step < 6 else [-1.0], 6),  # neither goes through to the end
    ],
)
def test_guidance_that_changes_during_a_run_is_refused(tmp_path, conditions, fewest):
    asked = Request(steps=STEPS, count=2)
    with pytest.raises(CalibrationError, match="guidance changes during the run") as error:
        calibrate(Guided(conditions), asked, tmp_path / "toy.cal", ())
    assert f"called at {fewest} of 12 steps; calibrate with the same" in str(error.value)
    assert "\n" not in str(error.value)
    assert not (tmp_path / "toy.cal").exists()


def test_guidance_at_every_step_is_recorded_by_branch(tmp_path):
    asked = Request(steps=STEPS, count=2)
    made = calibrate(Guided(lambda step: [1.0, -1.0]), asked, tmp_path / "toy.cal", ())
    assert made.recording.branches.shape == (2, STEPS, STEPS)


def test_a_full_disk_is_said_in_one_line_and_loses_nothing_recorded(tmp_path):
    """Files may grow to 20 kB, by the shell's limit: less than the second part's."""
    program = f"""
import resource, signal
from pathlib import Path
from forecastcache.calibration.calibrate import calibrate
from forecastcache.errors import CalibrationError
from forecastcache.sampling.loading import load
from forecastcache.sampling.request import Request

pipe = load({MODEL!r})
pipe.set_progress_bar_config(disable=True)
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)

def progress(stage, done, of):
    resource.setrlimit(resource.RLIMIT_FSIZE, (20_000, 20_000))

try:
    calibrate(
        pipe, [Request.of({MODEL!r}, steps={STEPS}, count=4)], Path({str(tmp_path / "dit.cal")!r}),
        ["0,3"], micro_batch=2, progress=progress,
    )
except CalibrationError as error:
    print(error)
"""
    said = shell(sys.executable, "-c", program, cwd=tmp_path)
    assert "0-0001.safetensors cannot be written" in said
    assert "make room, and start again; what was recorded before is kept" in said
    left = sorted(path.name for path in (tmp_path / "dit.cal.parts").iterdir())
    assert left == ["0-0000.safetensors", "of.json"]


def test_killed_in_the_fits_it_keeps_those_that_were_done(pipe, tmp_path):
    class Killed(BaseException):
        pass

    def kill(stage: str, done: int, of: int) -> None:
        if (stage, done) == ("fitting", 1):
            raise Killed

    out = tmp_path / "dit.cal"
    schedules = ["search:2", "0,4,8"]
    with pytest.raises(Killed):
        calibrate(pipe, [request(4)], out, schedules, tries=6, refine=False, progress=kill)
    with counted(pipe) as calls:
        resumed = calibrate(pipe, [request(4)], out, schedules, tries=6, refine=False)
    assert len(calls) == 5 * 3 + 2 + 3  # of the second schedule; what both would spare is last
    whole = calibrate(pipe, [request(4)], tmp_path / "whole.cal", schedules, tries=6, refine=False)
    assert [fit.rows for fit in resumed.fits] == [fit.rows for fit in whole.fits]
