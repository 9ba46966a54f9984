"""A whole set-up as a file: what is written comes back, and what is wrong is named by its line."""

from __future__ import annotations

import pickle

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

import forecastcache as fc
from forecastcache.config import DTYPES, _scalar
from forecastcache.errors import OptionError
from forecastcache.registry import PREDICTORS, SCHEDULES

from .built_ins import shipped
from .test_spec import configured

FURTHER = st.fixed_dictionaries(
    {},
    optional={
        "site": st.sampled_from(["output", "hidden", "block", "module"]),
        "dtype": st.sampled_from([None, *DTYPES.values()]),
        "offload": st.sampled_from([None, "cpu"]),
        "not_finite": st.sampled_from(["raise", "recompute"]),
        "budget": st.integers(1, 2**50) | st.sampled_from(["2 GiB", "500 MB", "7"]),
        "guard": st.sampled_from([None, 2, 0.5, 1e3]),
    },
)


@pytest.mark.parametrize("name", shipped(PREDICTORS))
@settings(max_examples=5)
@given(data=st.data())
def test_every_predictor_comes_back_from_its_file(name, data):
    predictor = data.draw(configured(PREDICTORS.get(name)))
    config = fc.Config("every:5", predictor, **data.draw(FURTHER))
    assert fc.Config.from_yaml(config.to_yaml()) == config


@pytest.mark.parametrize("name", shipped(SCHEDULES))
@settings(max_examples=5)
@given(data=st.data())
def test_every_schedule_comes_back_from_its_file(name, data):
    schedule = data.draw(configured(SCHEDULES.get(name)))
    config = fc.Config(schedule, "taylor", **data.draw(FURTHER))
    assert fc.Config.from_yaml(config.to_yaml()) == config


@given(
    st.text() | st.integers() | st.sampled_from(["null", "yes", "On", "a:", "#", "1:2", "a: b"])
)
def test_any_text_and_number_is_written_so_that_yaml_reads_it(value):
    yaml = pytest.importorskip("yaml")
    try:
        str(value).encode()
    except UnicodeEncodeError:  # a lone surrogate, which no file can hold
        return
    assert yaml.safe_load(f"key: {_scalar(value)}\n") == {"key": value}


def test_a_file_is_what_one_would_write(tmp_path):
    config = fc.Config(fc.Every(5), fc.Taylor(1), site="module", dtype=torch.float16, budget=2**20)
    text = config.to_yaml()
    assert text == (
        "schedule: every:interval=5\npredictor: taylor\nsite: module\ndtype: float16\n"
        "budget: 1048576\n"
    )
    path = tmp_path / "fast.yaml"
    path.write_text(text)
    assert fc.Config.from_yaml(path) == fc.Config.from_yaml(str(path)) == config
    json = '{"schedule": [0, 4, 9], "predictor": "reuse"}'
    assert fc.Config.from_yaml(json) == fc.Config("0,4,9", "reuse")


def test_it_is_frozen_hashed_and_pickled():
    config = fc.Config("every:5", "taylor", dtype="bfloat16")
    assert hash(config) == hash(fc.Config(fc.Every(5), fc.Taylor(), dtype=torch.bfloat16))
    assert pickle.loads(pickle.dumps(config)) == config
    assert type(config).model_validate_json(config.model_dump_json()) == config
    with pytest.raises(ValueError, match="frozen"):
        config.site = "module"


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        (
            "predictor: taylor\n\nschedule: often\n",
            "the text, line 3: Config: schedule: 'often' is no schedule",
        ),
        (
            "schedule: every:5\npredictor: tailor\n",
            "line 2: Config: predictor: .*'tailor': write one of bands",
        ),
        (
            "schedule: every:5\npredictor: taylor:order=9\n",
            "line 2: .*order='9', but input should be less",
        ),
        (
            "schedule: every:5\npredictor: taylor\nspeed: 5\n",
            "line 3: Config: unknown option speed=5; it takes schedule",
        ),
        ("guard: 0\n", "line 1: Config: guard=0, but"),
        ("schedule: every:5\npredictor: reuse\nsite: roof\n", "line 3: .*site: roof is not known"),
        ("schedule: every:5\npredictor: reuse\ndtype: int8\n", "line 3: .*'int8' is not known"),
        ("schedule: every:5\npredictor: reuse\nbudget: a lot\n", "line 3: .*budget='a lot' is no"),
        ("schedule: every:5\npredictor: 7\n", "line 2: .*7 is no predictor"),
        ("schedule: 7\npredictor: reuse\n", "line 1: .*7 is no schedule: give one"),
        ("schedule: every:5\nschedule: every:6\n", "the text is no YAML: .*schedule"),
        ("- every:5\n- taylor\n", "the text is no set-up: write options such as"),
        ("{", "the text is no YAML: "),
    ],
)
def test_what_is_no_set_up_is_refused_by_its_line(text, complaint):
    with pytest.raises(OptionError, match=complaint) as error:
        fc.Config.from_yaml(text)
    assert "\n" not in str(error.value)


def test_a_file_that_cannot_be_read_is_named(tmp_path):
    with pytest.raises(OptionError, match=r"none.yaml cannot be read .*: give a file"):
        fc.Config.from_yaml(tmp_path / "none.yaml")
    path = tmp_path / "wrong.yaml"
    path.write_text("schedule: every:5\npredictor: reuse\nsite: roof\n")
    with pytest.raises(OptionError, match=r"wrong.yaml, line 3: "):
        fc.Config.from_yaml(path)


def test_what_nothing_names_cannot_be_written():
    class Mine(fc.Taylor):
        """Not registered."""

    with pytest.raises(OptionError, match="Mine is not registered"):
        fc.Config("every:5", Mine()).to_yaml()


@pytest.mark.parametrize(
    ("config", "missing"),
    [(fc.Config("every:5"), "predictor"), (fc.Config(predictor="reuse"), "schedule")],
)
def test_what_is_left_out_is_named_where_it_is_needed(pipe, config, missing):
    assert fc.Config.from_yaml(config.to_yaml()) == config
    with pytest.raises(OptionError, match=f"the Config has no {missing}: write such as {missing}"):
        fc.attach(pipe, config)
