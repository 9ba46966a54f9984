"""forecastcache explain: the row of a predictor, and what it does."""

from __future__ import annotations

import json


def test_explain_prints_the_row_and_what_it_does(forecastcache):
    arguments = ("explain", "taylor", "--order", 2, "--computed", "0,1,2,8", "--target", 11)
    code, out, _ = forecastcache(*arguments, "--json")
    assert code == 0
    assert json.loads(out) == {
        "predictor": "Taylor(order=2, guard=3)",
        "computed": [0, 1, 2, 8],
        "target": 11,
        "row": [0.0, 0.75, -1.375, 1.625],
        "even": False,
        "differences": [1.0, 3.0, 5.25],
        "noise_gain": 3.75,
        "degree": 1,
    }
    code, out, _ = forecastcache(*arguments)
    assert code == 0
    assert "divided difference" in out
    assert "-1.375" in out
    assert "noise gain 3.75; exact on straight lines (degree 1)" in out


def test_explain_takes_times(forecastcache):
    code, out, _ = forecastcache(
        "explain", "newton", "--set", "coordinate=time", "--computed", "0,6,12", "--target", 23,
        "--times", "1,0.9,0.7,0.3",
    )  # fmt: skip
    assert code == 0
    assert "exact on parabolas (degree 2)" in out
