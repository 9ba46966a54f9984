"""The reference's guard: of the warm-up steps only the newest two feed differences.

TaylorSeer's code (2503.06923) forms differences at a computed step s only if it is above
first_enhance - 2; its DiT code counts steps down and has s < num_steps - first_enhance + 1, which
is the same.
"""

from __future__ import annotations

from math import factorial

import pytest
import torch
from torch import nn

import forecastcache as fc
from forecastcache.errors import OptionError
from forecastcache.evaluation.method import Forecast
from forecastcache.evaluation.open_loop import feature_errors
from forecastcache.spec import parse_predictor
from forecastcache.testing.fake_pipeline import FakePipeline

TOTAL = 50
TIMES = [1 - index / TOTAL for index in range(TOTAL)]


class Curve(nn.Module):
    """A model whose output is a smooth function of time, in float64."""

    def forward(self, sample, timestep):
        waves = torch.linspace(0.5, 3, sample.numel(), dtype=torch.float64).view_as(sample)
        return sample + torch.sin(waves * (1 + timestep)) + torch.exp(-waves * timestep)


class Reference:
    """TaylorSeer's recursion as its FLUX code has it: factors, activated steps, first_enhance."""

    def __init__(self, order: int, first: int) -> None:
        self.order, self.first = order, first
        self.factors: list[torch.Tensor] = []
        self.newest = 0

    def is_warm(self, step: int) -> bool:
        """The guard of differences, first_enhance."""
        return step > self.first - 2

    def compute(self, step: int, feature: torch.Tensor) -> torch.Tensor:
        factors = [feature]
        for i in range(self.order):
            if i < len(self.factors) and self.is_warm(step):
                factors.append((factors[i] - self.factors[i]) / (step - self.newest))
            else:
                break
        self.factors, self.newest = factors, step
        return feature

    def forecast(self, step: int) -> torch.Tensor:
        k = step - self.newest
        return sum(d * k**i / factorial(i) for i, d in enumerate(self.factors))


def is_full(step: int, since: int, interval: int, first: int) -> bool:
    """The reference's cal_type: a leading step, or the cache's counter has run up."""
    return step < first or since == interval - 1


def features_of(curve: Curve, sample: torch.Tensor, times: torch.Tensor) -> list[torch.Tensor]:
    return [curve(sample, time) for time in times]


@pytest.mark.parametrize("first", [1, 2, 3, 4])
@pytest.mark.parametrize("order", [0, 1, 2, 3, 4])
def test_a_session_gives_what_the_reference_gives(order, first):
    pipe = FakePipeline(TIMES, Curve())
    sample = torch.zeros(1, 3, 4, dtype=torch.float64)
    features = features_of(Curve(), sample, pipe.scheduler.timesteps)
    for interval in range(2, 9):
        reference, since, computed = Reference(order, first), 0, []
        with fc.attach(pipe, fc.Every(interval, first=first), fc.Taylor(order)) as session:
            for step, time in enumerate(pipe.scheduler.timesteps):
                ours = pipe.transformer(sample, time)
                if is_full(step, since, interval, first):
                    computed.append(step)
                    since, theirs = 0, reference.compute(step, features[step])
                else:
                    since, theirs = since + 1, reference.forecast(step)
                # Features are of order 1; rounding leaves 1e-15 of them times the noise gain.
                torch.testing.assert_close(ours, theirs, rtol=0, atol=1e-12)
        assert session.report().computed == tuple(computed)


@pytest.mark.parametrize(
    ("schedule", "guard"),
    [
        (fc.Every(5), 3),
        (fc.Every(7, first=1, last=2), 1),
        (fc.Listed([0, 1, 2, 8, 14]), 3),
        (fc.Listed([0, 6, 12]), 1),
        (fc.Listed(range(4)), 4),
    ],
)
def test_the_schedule_tells_the_guard(schedule, guard):
    assert schedule.warm_up == guard
    assert fc.Taylor(2).for_schedule(schedule) == fc.Taylor(2, guard=guard)
    assert fc.Hermite(2).for_schedule(schedule).guard == guard
    assert fc.Taylor(2, guard=0).for_schedule(schedule) == fc.Taylor(2, guard=0)
    blend = fc.Blend("reuse", fc.Blend("newton", "taylor:order=3")).for_schedule(schedule)
    assert blend.b.b == fc.Taylor(3, guard=guard)


def test_open_loop_forecasts_as_a_session_does():
    steps = [fc.Step(index, time, TOTAL) for index, time in enumerate(TIMES)]
    features = features_of(Curve(), torch.zeros(1, 3, 4), torch.tensor(TIMES).double())
    errors = {
        guard: feature_errors(
            steps, features, Forecast(fc.Taylor(2, guard), fc.Every(5), "output", "", "")
        ).feature_error_by_step
        for guard in (None, 0, 3)
    }
    assert errors[None] == errors[3] != errors[0]


def test_what_knows_no_schedule_has_no_guard():
    steps, target = [fc.Step(i, 0.0) for i in (0, 1, 2)], fc.Step(5, 0.0)
    unguarded = fc.Taylor(2, guard=0).row(steps, target).tolist()
    assert fc.Taylor(2).row(steps, target).tolist() == unguarded == [4.5, -12.0, 8.5]
    assert fc.Taylor(2, guard=3).row(steps, target).tolist() == [0, -3, 4]


def test_explain_follows_the_guard_of_the_steps_computed():
    guarded = fc.explain(fc.Taylor(2), [0, 1, 2], 5)
    assert guarded.row == (0, -3, 4)
    assert "Taylor(order=2, guard=3) forecasts step 5" in str(guarded)
    assert fc.explain(fc.Taylor(2, guard=0), [0, 1, 2], 5).row == (4.5, -12.0, 8.5)


def test_the_guard_is_written_where_it_is_given():
    assert str(fc.Taylor(2)) == "Taylor(order=2)"
    assert str(fc.Taylor(2, guard=0)) == "Taylor(order=2, guard=0)"
    assert parse_predictor("taylor:order=2,guard=0") == fc.Taylor(2, guard=0)
    with pytest.raises(OptionError, match="guard=-1"):
        fc.Taylor(2, guard=-1)


class DiTReference(Reference):
    """TaylorSeer's DiT code: steps count down from 49, and so do distances."""

    def is_warm(self, step: int) -> bool:
        return step < TOTAL - self.first + 1

    def compute(self, step: int, feature: torch.Tensor) -> torch.Tensor:
        return super().compute(TOTAL - 1 - step, feature)

    def forecast(self, step: int) -> torch.Tensor:
        return super().forecast(TOTAL - 1 - step)


@pytest.mark.parametrize("order", [0, 1, 2, 3, 4])
def test_the_dit_code_is_met_at_its_own_setting(order):
    sample, first = torch.zeros(1, 3, 4, dtype=torch.float64), 2
    features = features_of(Curve(), sample, torch.tensor(TIMES, dtype=torch.float64))
    for interval in range(2, 9):
        schedule = fc.Every(interval, first=first)
        taylor = fc.Taylor(order).for_schedule(schedule)
        history, theirs = fc.History(taylor.depth), DiTReference(order, first)
        for step, feature in enumerate(features):
            if step in schedule.computed(TOTAL):
                history.observe(fc.Step(step, TIMES[step]), feature)
                theirs.compute(step, feature)
            else:
                ours = taylor.forecast(history, fc.Step(step, TIMES[step]))
                torch.testing.assert_close(ours, theirs.forecast(step), rtol=0, atol=1e-12)
