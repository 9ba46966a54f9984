"""`accelerate` by a set-up: what it says holds, and what contradicts it is refused."""

from __future__ import annotations

import pytest
import torch

import forecastcache as fc
from forecastcache.errors import ForecastCacheWarning, OptionError

from ..conftest import make_pipeline
from .test_accelerate import STEPS, accelerated, call

STEPS_ASKED = (0, 2, 7)
SET_UP = {"computed": None, "pictures": 1}


def test_rows_are_fitted_to_its_steps_and_its_storage_holds(tmp_path):
    found = []
    for dtype in (None, "bfloat16"):
        config = fc.Config("0,2,7", dtype=dtype)
        fast = accelerated(make_pipeline(), tmp_path, **SET_UP, config=config)
        call(fast, 1)
        call(fast, 2)
        found.append(fast.summary())
    whole, half = found
    assert whole.computed == half.computed == STEPS_ASKED
    assert whole.state == half.state == "learned"
    assert half.fit_plain_runs is None  # the second found what the first had learned
    assert 2 * half.cache_bytes == whole.cache_bytes


def test_a_schedule_is_learned_beside_what_was_found_of_as_many_steps(tmp_path):
    call(accelerated(make_pipeline(), tmp_path, computed=3, pictures=1))
    fast = accelerated(make_pipeline(), tmp_path, **SET_UP, config=fc.Config("0,2,7"))
    call(fast)
    fast.save(tmp_path / "cal")
    found = [it.computed for it in fc.Calibration.load(tmp_path / "cal").fits]
    assert len(found) == 2
    assert STEPS_ASKED in found


def test_its_predictor_is_the_formula_and_it_may_be_a_file(tmp_path):
    path = tmp_path / "fast.yaml"
    path.write_text("schedule: 0,2,7\npredictor: taylor:order=0\n")
    for config in (path, str(path)):
        fast = accelerated(make_pipeline(), tmp_path, **SET_UP, config=config, eager=True)
        pipe = make_pipeline()
        with fc.attach(pipe, fc.Config.from_yaml(path)):
            assert torch.equal(call(pipe), call(fast))


def test_without_a_schedule_one_is_found(tmp_path):
    config = fc.Config(predictor="reuse", guard=1e-3)
    fast = accelerated(make_pipeline(), tmp_path, pictures=1, config=config)
    call(fast)
    with pytest.warns(ForecastCacheWarning, match="times what they did on the pictures"):
        call(fast, 5)
    assert len(fast.summary().computed) == 4


@pytest.mark.parametrize(
    ("config", "beside", "complaint"),
    [
        ({"schedule": "0,2,7"}, {"speedup": 5}, r"as speedup would: leave out speedup, or its"),
        ({"schedule": "0,2,7"}, {"quality": "fast"}, "as quality would"),
        ({"site": "module"}, {}, "site='module', and what is learned are rows of the output"),
        ({"guard": 5}, {"guard": 3.0}, r"guard=5.0, and guard=3.0 is given beside it: leave one"),
    ],
)
def test_what_contradicts_it_is_refused(config, beside, complaint):
    with pytest.raises(OptionError, match=complaint) as error:
        fc.accelerate(make_pipeline(), **beside, config=fc.Config(**config))
    assert "\n" not in str(error.value)


def test_what_is_no_set_up_is_refused():
    with pytest.raises(OptionError, match="config=5 is no set-up: give a Config, or its YAML"):
        fc.accelerate(make_pipeline(), config=5)


def test_a_schedule_that_decides_as_it_runs_is_refused():
    class Sometimes(fc.Schedule):
        def compute(self, step, state):
            return step.index % 3 == 0

    with pytest.raises(OptionError, match="decides as it runs: leave it out of the Config"):
        fc.accelerate(make_pipeline(), config=fc.Config(Sometimes()))


def test_steps_that_a_call_has_not_are_refused(tmp_path):
    fast = accelerated(make_pipeline(), tmp_path, **SET_UP, config=fc.Config("0,20"))
    with pytest.raises(fc.ForecastCacheError, match=f"the trajectory has {STEPS} steps"):
        call(fast)


def test_a_preset_of_another_model_is_warned_of():
    with pytest.warns(ForecastCacheWarning, match="published for flux.1-dev, and this model has"):
        fc.accelerate(make_pipeline(), config=fc.Config("preset:flux.1-dev:9"))
