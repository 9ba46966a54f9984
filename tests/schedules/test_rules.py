"""Each rule against its formula, written down once more over a trajectory that is given."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor

import forecastcache as fc
from forecastcache.errors import AttachError, OptionError, ScheduleError
from forecastcache.testing.fake_pipeline import FakePipeline

from ..adapters.tiny import make
from ..conftest import make_unconditional, sample
from .test_peers import STEPS, computed_in, steps_of_ours, trajectory

RULES = (
    fc.TeaCache(), fc.FirstBlockCache(), fc.MagnitudeAware(ratios=(1, 1.05, 0.97)),
    fc.EasyCache(), fc.SeaCache(), fc.SeaCache(of="sample"), fc.AdaCache(), fc.Verified(),
    fc.Drift(),
)  # fmt: skip


class Seen:
    """What a plain run over given calls shows: all that the rules look at."""

    def __init__(self, model: Any, calls: list[dict[str, Tensor]]) -> None:
        self.samples = [given["hidden_states"] for given in calls]
        self.modulated: list[Tensor] = []
        self.residuals: list[Tensor] = []
        self.outputs: list[Tensor] = []
        block = model.transformer_blocks[0]
        hooks = [
            block.norm1.register_forward_hook(lambda _, a, made: self.modulated.append(made[0])),
            block.register_forward_hook(self._note, with_kwargs=True),
        ]
        with torch.no_grad():
            for given in calls:
                self.outputs.append(model(**given, return_dict=False)[0])
        for hook in hooks:
            hook.remove()

    def _note(self, _: Any, args: Any, kwargs: Any, made: Any) -> None:
        self.residuals.append(made[1] - kwargs["hidden_states"])


@pytest.fixture(scope="module")
def flux():
    model, calls = trajectory("flux")
    return model, calls, Seen(model, calls)


def change(now: Tensor, before: Tensor) -> float:
    return float((now - before).abs().mean() / before.abs().mean())


@pytest.mark.parametrize("threshold", [0.2, 0.6])
def test_teacache_is_its_code(flux, threshold):
    """The loop of TeaCache4FLUX: a counter that is reset where a step is computed."""
    model, calls, seen = flux
    coefficients = (3.0, -0.5, 1.2, 0.01)
    steps, gathered = [], 0.0
    for step, now in enumerate(seen.modulated):
        if step in (0, STEPS - 1):
            computes = True
        else:
            x = change(now, seen.modulated[step - 1])
            gathered += sum(c * x**i for i, c in enumerate(reversed(coefficients)))
            computes = gathered >= threshold
        if computes:
            steps.append(step)
            gathered = 0.0
    assert 2 < len(steps) < STEPS
    ours = fc.TeaCache(threshold, coefficients=coefficients)
    assert steps_of_ours(model, calls, ours) == steps


@pytest.mark.parametrize("threshold", [0.1, 0.3])
def test_easycache_is_its_code(flux, threshold):
    """The loop of EasyCache4HunyuanVideo, whose k is of the newest two computed steps."""
    model, calls, seen = flux
    steps: list[int] = []
    gathered, k = 0.0, None
    for step, x in enumerate(seen.samples):
        computes = step < 5 or step == STEPS - 1 or k is None
        if not computes:
            moved = (x - seen.samples[step - 1]).abs().mean()
            gathered += float(k * moved / seen.outputs[steps[-1]].abs().mean())
            computes = gathered >= threshold
        if computes:
            if steps:
                old = steps[-1]
                k = (seen.outputs[step] - seen.outputs[old]).abs().mean()
                k = k / (x - seen.samples[old]).abs().mean()
            gathered = 0.0
            steps.append(step)
    assert 6 < len(steps) < STEPS
    assert steps_of_ours(model, calls, fc.EasyCache(threshold)) == steps


@pytest.mark.parametrize("threshold", [0.6, 2.0])
def test_adacache_looks_its_gaps_up(flux, threshold):
    model, calls, seen = flux
    book = ((0.08, 6), (0.16, 5), (0.24, 4), (0.32, 3), (0.4, 2), (1.0, 1))
    steps, due = [0], 1
    for step in range(1, STEPS):
        if step >= due or step >= STEPS - 2:
            old = steps[-1]
            rate = change(seen.residuals[step], seen.residuals[old]) / (step - old)
            due = step + next((gap for at, gap in book if rate < threshold * at), 1)
            steps.append(step)
    assert 4 < len(steps) < STEPS
    assert steps_of_ours(model, calls, fc.AdaCache(threshold)) == steps


@pytest.mark.parametrize("predictor", ["reuse", "taylor:1"])
def test_verified_accepts_what_the_predictor_forecasts_well(flux, predictor):
    model, calls, seen = flux
    threshold, decay, most = 0.7, 0.5, 4
    steps = [0, 1, 2]
    for step in range(3, STEPS):
        newest, older = seen.residuals[steps[-1]], seen.residuals[steps[-2]]
        slope = (newest - older) / (steps[-1] - steps[-2])
        expected = newest + (predictor != "reuse") * (step - steps[-1]) * slope
        error = change(expected, seen.residuals[step])
        if error > threshold * decay ** (step / STEPS) or step - steps[-1] > most:
            steps.append(step)
    assert 4 < len(steps) < STEPS
    pipe = FakePipeline([float(given["timestep"]) for given in calls], model)
    schedule = fc.Verified(threshold, decay=decay, in_a_row=most)
    with fc.attach(pipe, schedule, predictor) as session, torch.no_grad():
        for given in calls:
            model(**given)
    assert computed_in(session) == steps


def test_verified_does_not_look_where_it_is_told_not_to():
    tiny = make("flux")
    ran: list[int] = []
    tiny.model.transformer_blocks[0].register_forward_hook(lambda *_: ran.append(1))
    _, calls = trajectory("flux")
    pipe = FakePipeline([float(given["timestep"]) for given in calls], tiny.model)
    schedule = fc.Verified(1e9, first=1, in_a_row=4, unchecked=4)
    with fc.attach(pipe, schedule, "reuse") as session, torch.no_grad():
        for given in calls:
            tiny.model(**given)
    assert computed_in(session) == [*range(0, STEPS, 5)]
    assert len(ran) == 2 * len(computed_in(session))  # the look, and the step


def test_drift_takes_the_gaps_of_a_controller(flux):
    model, calls, seen = flux
    threshold = 0.1
    steps, due, expected = [0, 1], None, seen.outputs[0]
    for step in range(2, STEPS):
        if due is None:
            gap, newest = steps[-1] - steps[-2], steps[-1]
            error = change(expected, seen.outputs[newest])
            due = newest + max(1, int(min(2.0 * gap, gap * (threshold / error) ** (1 / 1))))
        if step >= due or step == STEPS - 1:
            expected, due = seen.outputs[steps[-1]], None
            steps.append(step)
    assert 3 < len(steps) < STEPS
    assert steps_of_ours(model, calls, fc.Drift(threshold, order=1)) == steps


def test_drift_may_grow_by_so_much_and_falls_back_to_one():
    drift = fc.Drift(0.1, order=2, growth=3)
    assert drift.gap(4, 0.1) == 4
    assert drift.gap(4, 0.4) == 2
    assert drift.gap(4, 0.0) == 12
    assert drift.gap(4, 1e9) == drift.gap(4, float("nan")) == 1


def test_the_filter_keeps_all_without_noise_and_the_mean_under_noise():
    from forecastcache.schedules.seacache import wiener_filtered

    picture = torch.randn(1, 3, 8, 8, generator=torch.Generator().manual_seed(0))
    clear = wiener_filtered(picture, (2, 3), 80.0, 2.0)
    assert torch.allclose(clear, picture, atol=1e-6)
    flat = wiener_filtered(picture, (2, 3), float("-inf"), 2.0)
    assert torch.allclose(flat, flat.mean((2, 3), keepdim=True).expand_as(flat), atol=1e-4)


@pytest.mark.parametrize("rule", RULES, ids=str)
def test_a_threshold_of_zero_computes_all_bit_for_bit(flux, rule):
    model, calls, seen = flux
    schedule = rule.model_copy(update={"threshold": 0.0})
    pipe = FakePipeline([float(given["timestep"]) for given in calls], model)
    with fc.attach(pipe, schedule, "taylor") as session, torch.no_grad():
        made = [model(**given, return_dict=False)[0] for given in calls]
    assert computed_in(session) == [*range(STEPS)]
    assert all(map(torch.equal, made, seen.outputs))


@pytest.mark.parametrize("rule", RULES, ids=str)
@pytest.mark.parametrize(("guard", "value"), [("first", 0), ("last", -1), ("in_a_row", 0)])
def test_guards_have_the_same_bounds_in_all(rule, guard, value):
    with pytest.raises(OptionError, match=f"{guard}={value}, but input should be greater"):
        type(rule)(**{**rule.model_dump(), guard: value})


@pytest.mark.parametrize("rule", RULES, ids=str)
def test_guards_are_spelt_alike_and_a_run_that_knows_nothing_else_says_so(flux, rule):
    model, calls, _ = flux
    further = {"retention": 0} if isinstance(rule, fc.MagnitudeAware) else {}
    schedule = type(rule)(
        **{**rule.model_dump(), "threshold": 1e9, "first": 3, "last": 2, "in_a_row": 7, **further}
    )
    if isinstance(rule, fc.AdaCache):  # whose gaps end with the codebook
        schedule = schedule.model_copy(update={"codebook": ((1.0, 99),)})
    if isinstance(rule, fc.Drift):
        schedule = schedule.model_copy(update={"growth": 99.0})
    pipe = FakePipeline([float(given["timestep"]) for given in calls], model)
    with fc.attach(pipe, schedule, "reuse") as session, torch.no_grad():
        for given in calls:
            model(**given)
    assert computed_in(session) == [0, 1, 2, 10, 18, 26, 28, 29] == schedule.always(STEPS)
    assert schedule.remark(computed_in(session), STEPS) == (
        "no step was computed but those that always are: lower threshold=1e+09"
    )


def test_a_run_that_computes_all_says_so(flux):
    model, calls, _ = flux
    pipe = FakePipeline([float(given["timestep"]) for given in calls], model)
    with fc.attach(pipe, fc.TeaCache(1e-9), "reuse") as session, torch.no_grad():
        for given in calls[:-1]:
            model(**given)
        assert session.report().remark is None  # it goes on
        model(**calls[-1])
    assert session.report().remark == "every step was computed: raise threshold=1e-09"
    assert str(session.report()).endswith(session.report().remark)
    assert fc.TeaCache(0).remark(range(STEPS), STEPS) is None  # as was asked


def test_a_step_that_the_session_computes_anyway_counts_as_computed(flux):
    """Newton of order 2 needs three features; what the first block gave at those is known."""
    model, calls, seen = flux
    pipe = FakePipeline([float(given["timestep"]) for given in calls], model)
    predictor = fc.VariableOrder((1, 2))
    with fc.attach(pipe, fc.FirstBlockCache(0.4), predictor) as session, torch.no_grad():
        for given in calls:
            model(**given)
    steps = computed_in(session)
    begun = predictor.minimum
    assert steps[:begun] == list(range(begun))
    for step in range(begun, STEPS):
        newest = max(each for each in steps if each < step)
        wanted = change(seen.residuals[step], seen.residuals[newest]) > 0.4
        assert wanted == (step in steps)


def test_what_a_rule_lacks_is_named():
    model, _ = trajectory("flux")
    with pytest.raises(ScheduleError, match=r"magcache has no ratios.*fit_schedule\(pipe"):
        fc.attach(model, "magcache", "reuse")
    for spec in ("firstblock", "teacache", "verified", "adacache"):
        with pytest.raises(AttachError, match="'generic' names no"):
            fc.attach(make_unconditional(), spec, "reuse")
    with pytest.raises(OptionError, match=r"codebook's changes are \[0.2, 0.1\]: give some that"):
        fc.AdaCache(codebook=((0.2, 3), (0.1, 5)))
    with pytest.raises(OptionError, match="coefficients are empty: 1,0 leaves"):
        fc.TeaCache(coefficients=())
    with pytest.raises(OptionError, match="threshold=-1"):
        fc.Drift(-1)


@pytest.mark.parametrize(
    ("spec", "complaint"),
    [
        ("teacache", "needs the number of steps, .* or use last=0"),
        ("seacache:last=0", "needs the noise level of each step, .* or use teacache"),
        ("magcache:ratios=(1,1.1)", "MagnitudeAware needs the number of steps"),
        ("verified", "needs the number of steps, .* or use decay=1"),
    ],
)
def test_a_bare_model_does_not_tell_what_some_need(spec, complaint):
    model, calls = trajectory("flux")
    with fc.attach(model, spec, "reuse"), pytest.raises(ScheduleError, match=complaint):
        make_all(model, calls)


def make_all(model: Any, calls: list[dict[str, Tensor]]) -> None:
    with torch.no_grad():
        for given in calls:
            model(**given)


def test_they_run_in_a_pipeline_by_their_names(pipe):
    for spec in ("easycache:0.5,first=2", "drift:0.5", "seacache:0.2,of=sample"):
        with fc.attach(pipe, spec, "taylor") as session:
            sample(pipe)
        assert 1 < len(computed_in(session)) < len(session.calls)
