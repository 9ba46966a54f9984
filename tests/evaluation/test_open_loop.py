"""Errors against intervals, where the answer is known."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from PIL import Image

import forecastcache as fc
from forecastcache.errors import OptionError
from forecastcache.evaluation import charts
from forecastcache.evaluation.method import Forecast
from forecastcache.evaluation.open_loop import at_intervals, feature_errors, open_loop
from forecastcache.sampling.request import Request
from forecastcache.sampling.trajectory import trajectory_of
from forecastcache.step import Step


def curve(function, total: int = 50) -> tuple[list[fc.Step], list[torch.Tensor]]:
    """Features (2, 3) that follow `function` from 0 to 1, in float64."""
    direction = torch.arange(1, 7, dtype=torch.float64).reshape(2, 3)
    steps = [Step(i, 1 - i / total, total) for i in range(total)]
    return steps, [function(i / total) * direction for i in range(total)]


def method(predictor: fc.Predictor, interval: int = 5) -> Forecast:
    return Forecast(predictor, fc.Every(interval, first=3), "output", str(predictor), "")


def test_reuse_on_a_line_misses_by_the_way_gone():
    row = feature_errors(*curve(lambda t: 1 + t), method(fc.Reuse()))
    newest = [max(c for c in (0, 1, 2, *range(7, 50, 5)) if c <= s) for s in range(50)]
    expected = [(s - c) / (50 + s) if s > c else None for s, c in enumerate(newest)]
    assert row.feature_error_by_step == tuple(
        it if it is None else pytest.approx(it, rel=1e-12) for it in expected
    )
    assert (row.computed, row.count) == (tuple(sorted({*newest})), 12)
    assert row.interval == 50 / 12
    missed = [it for it in expected if it is not None]
    assert row.feature_error == pytest.approx(np.mean(missed), rel=1e-12)


def test_what_is_exact_misses_nothing():
    parabola = curve(lambda t: 1 + t - t**2)
    late = slice(7, None)  # before it, the history is of two features or three uneven ones
    newton, taylor = (
        feature_errors(*parabola, method(it)).feature_error_by_step[late]
        for it in (fc.Newton(order=2), fc.Taylor(order=2))
    )
    assert max(filter(None, newton)) < 1e-13  # rounding, times a noise gain of some 10
    assert max(filter(None, taylor)) > 1e-3


@pytest.mark.parametrize(("predictor", "order"), [(fc.Reuse(), 1), (fc.Taylor(order=1), 2),
                                                  (fc.Newton(order=2), 3)])  # fmt: skip
def test_errors_grow_as_the_order_says(predictor, order):
    intervals, late = (4, 8, 16), slice(200, None)
    seen = curve(np.exp, 400)
    rows = [feature_errors(*seen, method(predictor, interval)) for interval in intervals]
    errors = [max(filter(None, row.feature_error_by_step[late])) for row in rows]
    slope = np.polyfit(np.log(intervals), np.log(errors), 1)[0]
    assert slope == pytest.approx(order, abs=0.25)  # the last forecast is of step N - 1, not N


def test_all_computed_has_no_error():
    row = feature_errors(*curve(np.exp), method(fc.Reuse(), 1))
    assert (row.count, row.feature_error) == (50, None)


def test_the_first_forecast_is_that_of_a_session(pipe):
    request = Request(steps=12, count=2)
    with trajectory_of(pipe) as plain:
        request.run(pipe)
    (forecast,) = at_intervals([4], ["newton:order=1"])
    with forecast.apply(pipe, request), trajectory_of(pipe) as accelerated:
        request.run(pipe)
    (row,) = open_loop(pipe, request, [forecast])
    step = row.feature_error_by_step.index(next(filter(None, row.feature_error_by_step)))
    assert step == 3
    missed = (accelerated.guided[step] - plain.guided[step]).norm() / plain.guided[step].norm()
    assert row.feature_error_by_step[step] == pytest.approx(float(missed), rel=1e-4)  # float32


def test_methods_are_named_as_they_are_asked_for():
    found = at_intervals([3, 7], ["reuse"], "zoo:flux-digits", ["open", "simulated"])
    assert [it.name for it in found[1:4]] == [
        "reuse every:7, output",
        "learned, open loop every:3, output",
        "learned, simulated loop every:3, output",
    ]
    assert [it.schedule for it in found[:2]] == [fc.Every(3, first=3), fc.Every(7, first=3)]


@pytest.mark.parametrize("site", ["hidden", "module"])
def test_what_no_scheduler_sees_is_refused(pipe, site):
    inside = Forecast(fc.Reuse(), fc.Every(3), site, "reuse", "every:3")
    with pytest.raises(OptionError, match="take site='output'"):
        open_loop(pipe, Request(steps=4, count=1), [inside])


def test_the_chart_is_drawn(tmp_path):
    seen = curve(np.exp)
    rows = [
        feature_errors(*seen, it) for it in at_intervals([1, 3, 5], ["reuse", "taylor:order=1"])
    ]
    charts.feature_error_against_interval(rows, tmp_path / "chart.png")
    with Image.open(tmp_path / "chart.png") as image:
        assert image.width > 500
