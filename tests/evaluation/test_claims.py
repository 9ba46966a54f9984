"""What papers say, measured again: the parts by hand, one claim whole."""

from __future__ import annotations

import json
from dataclasses import replace
from itertools import combinations

import numpy as np
import pytest
import torch

from forecastcache.calibration.paths import cheapest_path, line_costs
from forecastcache.cli.app import run_app
from forecastcache.errors import OptionError
from forecastcache.evaluation import claims
from forecastcache.evaluation.claim_measures import Outcome
from forecastcache.evaluation.ground import velocity_misses

STEPS = 9


def run(*arguments: str) -> int:
    with pytest.raises(SystemExit) as end:
        run_app(list(arguments))
    return int(end.value.code or 0)


def test_line_costs_are_the_misses_of_straight_lines():
    features = np.random.default_rng(0).standard_normal((STEPS, 30))
    costs = line_costs(features @ features.T)
    for i, j, k in ((0, 1, 4), (2, 5, 9), (3, 4, 5)):
        missed = 0.0
        for t in range(j + 1, k):
            line = features[j] + (t - j) / (j - i) * (features[j] - features[i])
            missed += np.linalg.norm(features[t] - line)
        assert costs[i, j, k] == pytest.approx(missed, abs=1e-9)
    assert np.isinf(costs[4, 4, 6])
    assert np.isinf(costs[1, 4, 4])


@pytest.mark.parametrize(("count", "first"), [(3, 2), (5, 2), (5, 3), (6, 4)])
def test_the_cheapest_path_is_the_best_of_all(count, first):
    costs = np.random.default_rng(count).random((STEPS, STEPS, STEPS + 1))
    for i, j, k in np.ndindex(*costs.shape):
        if not i < j < k:
            costs[i, j, k] = np.inf
    others = range(first, STEPS - 1)
    paths = [
        (*range(first), *between, STEPS - 1) for between in combinations(others, count - first - 1)
    ]

    def cost(path):
        return sum(
            costs[i, j, k] for i, j, k in zip(path[first - 2 :], path[first - 1 :], path[first:])
        )

    assert cheapest_path(costs, count, first) == min(paths, key=cost)


def test_a_velocity_that_never_changes_misses_nothing():
    sigmas = torch.linspace(1, 0, 6).double()
    velocity = torch.ones(2, 3).double()
    samples = [sigma * velocity for sigma in sigmas]
    misses = velocity_misses(samples, [velocity] * 5, sigmas)
    assert np.nanmax(misses[np.isfinite(misses)]) == pytest.approx(0, abs=1e-12)
    turned = velocity_misses(samples, [velocity] * 4 + [-velocity], sigmas)
    assert turned[4, 5] == pytest.approx(2)
    assert np.isinf(turned[3, 3])


def test_claims_have_names_of_their_own_and_an_unknown_one_is_refused():
    names = [each.name for each in claims.CLAIMS]
    assert len(set(names)) == len(names)
    with pytest.raises(OptionError, match="'magic' is no claim: write one of taylorseer-orders"):
        claims.claim("magic")


def test_the_command_lists_measures_and_refuses(monkeypatch, capsys):
    first = claims.CLAIMS[0]
    made = replace(first, measure=lambda: Outcome(False, "it is so", [{"psnr_db": 1.5}]))
    monkeypatch.setattr(claims, "CLAIMS", (made, *claims.CLAIMS[1:]))
    assert run("claims") == 0
    assert capsys.readouterr().out.count("\n") == len(claims.CLAIMS) + 1
    assert run("claims", first.name) == 0
    assert "  does not: it is so" in capsys.readouterr().out
    assert run("claims", first.name, "--json") == 0
    found = json.loads(capsys.readouterr().out)[first.name]
    assert (found["agrees"], found["figures"]) == (False, [{"psnr_db": 1.5}])
    assert run("claims", "magic") == 2
    assert "'magic' is no claim" in capsys.readouterr().err


@pytest.mark.slow
def test_a_claim_is_measured():
    found = claims.claim("l2p-linear-form").measure()
    errors = {row["row"]: row["relative_error"] for row in found.figures}
    assert found.agrees == (errors.pop("least squares") < min(errors.values()))
    assert json.dumps(found.figures)
