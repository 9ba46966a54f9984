from __future__ import annotations

import json

import pytest

from forecastcache.spec import parse_schedule

FLUX = ("tune", "zoo:flux-digits", "--steps", 10, "--count", 1)


def test_what_it_prints_is_a_schedule_that_computes_as_many(forecastcache):
    code, out, _ = forecastcache(*FLUX, "--schedule", "teacache", "--computed", 5, "--json")
    assert code == 0
    spec = json.loads(out)["schedule"]
    found = parse_schedule(spec)
    assert found.coefficients != (1, 0)
    run = ("run", *FLUX[1:], "--schedule", spec, "--predictor", "taylor", "--json")
    code, out, _ = forecastcache(*run, "--seed", 1000)
    assert code == 0
    assert "teacache" in out or "TeaCache" in out


@pytest.mark.parametrize(
    ("options", "complaint"),
    [
        (("--schedule", "every:5", "--computed", 5), "has no threshold to solve for"),
        (("--schedule", "drift", "--computed", 11), "computed=11 of 10 steps cannot be"),
        (("--schedule", "drift", "--site", "moon"), "--site moon is not known: write one of"),
        (("--schedule", "moon"), "'moon' is no schedule"),
    ],
)
def test_refusals(forecastcache, options, complaint):
    code, out, err = forecastcache(*FLUX, *options)
    assert (code, out) == (2, "")
    assert complaint in err
