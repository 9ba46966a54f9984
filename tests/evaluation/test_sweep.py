"""Sweeps: what is to be compared, and what cannot be."""

from __future__ import annotations

import json

import pytest

from forecastcache.errors import BudgetError, ForecastCacheError, OptionError
from forecastcache.evaluation.sweep import Sweep
from forecastcache.sampling.request import Request

from ..conftest import sample

STEPS = 10


def test_a_sweep_is_every_predictor_at_every_schedule_and_site(tmp_path):
    path = tmp_path / "sweep.yaml"
    path.write_text(
        "predictors: ['taylor:order=1', reuse]\nschedules: ['every:3', '0,4']\n"
        "sites: [output, module]\nbaselines: ['steps:count=4']\n"
    )
    methods = Sweep.read(path).methods(STEPS)
    assert len(methods) == 1 + 2 * 2 * 2 + 1
    assert [it.name for it in methods[:2]] == ["plain, again", "taylor:order=1 every:3, output"]
    assert methods[-1].name == "steps:count=4"
    path.write_text(json.dumps({"predictors": ["reuse"], "schedules": ["every:2"]}))
    assert len(Sweep.read(path).methods(STEPS)) == 1 + 1
    path.write_text("calibration: zoo:flux-digits\ncounts: [5, 9]")
    _, five, nine = Sweep.read(path).methods(50)
    assert (five.name, nine.line) == (
        "zoo:flux-digits computed:5, output", "zoo:flux-digits, output"
    )  # fmt: skip
    assert len(nine.schedule.computed(50)) == 9


def test_a_set_up_is_a_row(tmp_path, pipe):
    path = tmp_path / "fast.yaml"
    path.write_text("schedule: every:3\npredictor: reuse\nsite: module\nbudget: 9\n")
    _, row = Sweep.of("the options", {"configs": [str(path)]}).methods(STEPS)
    assert (row.name, row.site) == (f"{path} every:interval=3, module", "module")
    with row.apply(pipe, Request()), pytest.raises(BudgetError):
        sample(pipe, steps=2)
    path.write_text("schedule: 0,12\npredictor: reuse\n")
    with pytest.raises(OptionError, match=r"row '.*fast.yaml': .*step 12"):
        Sweep.of("the options", {"configs": [str(path)]}).methods(STEPS)
    path.write_text("schedule: often\npredictor: reuse\n")
    with pytest.raises(OptionError, match=r"row '.*': .*fast.yaml, line 1: Config: schedule"):
        Sweep.of("the options", {"configs": [str(path)]}).methods(STEPS)


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        ("predictor: [reuse]", "predictor: extra inputs.*it takes predictors, schedules"),
        ("sites: [roof]", "sites.0: value error, roof is not known"),
        ("{", "is neither YAML nor JSON"),
    ],
)
def test_other_sweeps_are_refused(tmp_path, text, complaint):
    path = tmp_path / "sweep.yaml"
    path.write_text(text)
    with pytest.raises(OptionError, match=complaint):
        Sweep.read(path)
    with pytest.raises(OptionError, match="cannot be read"):
        Sweep.read(tmp_path / "none.yaml")


@pytest.mark.parametrize(
    ("data", "complaint"),
    [
        ({"predictors": ["none"], "schedules": ["every:2"]}, "row 'none every:2 output': .*none"),
        ({"predictors": ["reuse"], "schedules": ["0,12"]}, "row 'reuse 0,12 output': .*step 12"),
        ({"baselines": ["steps:count=5", "steps:count=5"]}, "'steps:count=5' stands twice"),
        ({"predictors": ["reuse"]}, "predictors and schedules go together"),
        (
            {"counts": [9]},
            r"calibration and counts \(--computed\) go together: give both, or none",
        ),
        ({"calibration": "zoo:dit-digits", "counts": [9]}, "is of 50 steps"),
        ({}, "there is nothing to evaluate"),
        (
            {"baselines": ["magic"]},
            "row 'magic': no baseline is called 'magic': write one of cache-dit",
        ),
    ],
)
def test_rows_that_cannot_be_are_named_before_anything_runs(data, complaint):
    with pytest.raises(ForecastCacheError, match=complaint):
        Sweep.of("the options", data).methods(STEPS)
