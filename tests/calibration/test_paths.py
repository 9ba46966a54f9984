"""Steps that published rules plan from a calibration alone."""

from __future__ import annotations

import json

import numpy as np
import pytest
import torch

from forecastcache.calibration.calibration import Calibration
from forecastcache.calibration.paths import PLANNERS, planned_by, velocity_costs
from forecastcache.errors import CalibrationError, OptionError


@pytest.mark.parametrize("name", PLANNERS)
def test_it_computes_its_first_steps_and_the_last(name):
    recording = Calibration.load("zoo:flux-digits").recording
    steps = planned_by(name, recording.gram, recording.motion.sensitivity, 9)
    first = PLANNERS[name].first
    assert len(steps) == 9
    assert steps[:first] == tuple(range(first))
    assert steps[-1] == recording.steps - 1


def test_the_cost_of_a_gap_is_what_reuse_misses_of_the_mean_velocity():
    torch.manual_seed(0)
    outputs, weight = torch.randn(6, 40, dtype=torch.float64), np.linspace(0.1, 0.3, 6)
    costs = velocity_costs((outputs @ outputs.T).numpy(), weight)
    for j, k in ((0, 1), (0, 4), (2, 6)):
        average = torch.from_numpy(weight[j:k]) @ outputs[j:k] / weight[j:k].sum()
        missed = float((outputs[j] - average).square().sum()) ** 2
        for i in range(j):
            assert costs[i, j, k] == pytest.approx(missed, abs=1e-9)
    assert np.isinf(costs[2, 2]).all()
    assert np.isinf(costs[0, 2, :3]).all()


def test_the_command_line_plans_by_them(forecastcache):
    code, out, _ = forecastcache(
        "plan", "zoo:flux-digits", "--computed", "9", "--by", "dpcache", "--json"
    )
    found = json.loads(out)
    assert (code, found["steps"], found["by"]) == (0, 50, "dpcache")
    _, text, _ = forecastcache("plan", "zoo:flux-digits", "--computed", "9", "--by", "dpcache")
    assert text.strip() == ",".join(map(str, found["computed"]))


@pytest.mark.parametrize(
    ("arguments", "complaint"),
    [
        (("--by", "dpcache"), "give --computed"),
        (("--by", "budcache", "--computed", "9"), "write one of dpcache, meancache"),
        (("--by", "meancache", "--computed", "5"), "ask for 6 computed steps or more"),
        (("--by", "dpcache", "--computed", "9", "--picture", "x.png"), "draws nothing"),
    ],
)
def test_what_cannot_be_planned_is_refused_in_one_line(forecastcache, arguments, complaint):
    code, out, err = forecastcache("plan", "zoo:flux-digits", *arguments)
    assert (code, out) == (2, "")
    assert complaint in err
    assert err.count("\n") == 1


def test_names_and_counts_are_refused_in_python_too():
    with pytest.raises(OptionError, match="'ours' plans nothing here"):
        planned_by("ours", np.eye(8), np.ones(8), 5)
    with pytest.raises(CalibrationError, match="ask for 4 computed steps or more"):
        planned_by("dpcache", np.eye(8), np.ones(8), 3)
