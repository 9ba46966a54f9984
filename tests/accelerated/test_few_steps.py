"""Runs of few steps: what is computed of them, and when forecasting is not worth it."""

from __future__ import annotations

import pytest
import torch

from forecastcache._util.progress import silent
from forecastcache.accelerated import learning
from forecastcache.accelerated.call import Call
from forecastcache.accelerated.fewer_steps import BesideFewerSteps
from forecastcache.accelerated.goal import Goal
from forecastcache.accelerated.learning import Learning
from forecastcache.calibration.fits import decibels
from forecastcache.calibration.subset import Subset
from forecastcache.errors import CalibrationError, ForecastCacheWarning
from forecastcache.sampling.trajectory import trajectory_of

from ..conftest import make_pipeline
from .test_accelerate import STEPS, accelerated, call


@pytest.mark.parametrize("options", [{"speedup": 1}, {"computed": STEPS}])
def test_where_every_step_is_computed_calls_are_plain_and_nothing_is_learned(options, tmp_path):
    fast = accelerated(make_pipeline(), tmp_path / "kept", **{"computed": None, **options})
    for label in (1, 2, 3):
        assert torch.equal(call(fast, label), call(make_pipeline(), label))
    assert not (tmp_path / "kept").exists()


def test_where_every_step_is_computed_there_is_nothing_to_learn():
    pipe = make_pipeline()
    learning_ = Learning(pipe, Subset())
    asked = {"class_labels": [1], "num_inference_steps": STEPS, "generator": torch.Generator()}
    made = Call.of(pipe, (), asked)
    learning_.record(made, made.made)
    with pytest.raises(CalibrationError, match="speedup 1 computes all 12 steps, which leaves"):
        learning_.fit(Goal(speedup=1), 4.0, silent)


def test_a_run_of_one_step_is_plain(tmp_path):
    fast = accelerated(make_pipeline(), tmp_path, computed=None)
    one = {"num_inference_steps": 1}
    assert torch.equal(call(fast, **one), call(make_pipeline(), **one))


def final(label: int, steps: int) -> torch.Tensor:
    pipe = make_pipeline()
    with trajectory_of(pipe, 1) as trajectory:
        call(pipe, label, num_inference_steps=steps)
    return trajectory.samples[-1]


@pytest.mark.parametrize("worth", [True, False])
def test_a_doubtful_fit_is_held_against_fewer_steps(worth, tmp_path, monkeypatch):
    monkeypatch.setattr(learning, "DOUBTFUL", 200.0)
    monkeypatch.setattr(
        BesideFewerSteps, "advice", property(lambda it: None if worth else "not worth")
    )
    fast = accelerated(make_pipeline(), tmp_path)
    call(fast, 1)
    if worth:
        call(fast, 2)
    else:
        with pytest.warns(ForecastCacheWarning, match="^not worth$"):
            call(fast, 2)
    found = fast.summary().fewer_steps
    missed = [(final(i, 4) - final(i, STEPS)).double().square().mean() for i in (1, 2)]
    own = sum(decibels(float(it)) for it in missed) / 2
    assert (found.count, found.total) == (4, STEPS)
    assert found.own_db == pytest.approx(own, abs=1e-3)  # of latents in float32
    assert fast.summary().fit_plain_runs <= 4
    assert ("not worth" in str(fast.summary())) is not worth


def test_advice_is_given_where_fewer_steps_are_as_near():
    assert BesideFewerSteps(2, 4, rolled_db=24.0, own_db=22.0).advice is None
    said = BesideFewerSteps(2, 4, rolled_db=22.0, own_db=22.2).advice
    assert "not worth it here: 2 of 4 computed steps end 22.0 dB from the plain run" in said
    assert said.endswith("a plain run of 2 22.2 dB; make plain runs of 2, or compute more of them")
    assert "\n" not in said
