"""Which call is of which branch of guidance."""

from __future__ import annotations

import pytest
import torch
from torch import nn

import forecastcache as fc
from forecastcache.engine.clock import Clock
from forecastcache.engine.report import CallRecord
from forecastcache.testing.fake_pipeline import FakePipeline


class Denoiser(nn.Module):
    """A model whose output tells condition and time, so that mixed branches would show."""

    def __init__(self) -> None:
        super().__init__()
        self.computed = 0

    def forward(self, hidden_states, timestep, condition=0.0, return_dict=True):
        self.computed += 1
        output = hidden_states * 0 + condition * 1000 + timestep / 1000
        return {"sample": output} if return_dict else (output,)


def guided(model: Denoiser, steps: int, conditions, sample: torch.Tensor) -> list[list[float]]:
    """Sequential guidance: `conditions(i)` lists what the model is called with at step i."""
    times = torch.linspace(1000, 100, steps)
    return [
        [model(sample, t, c)["sample"].mean().item() for c in conditions(i)]
        for i, t in enumerate(times)
    ]


GUIDANCE = {
    "off": lambda i: [1.0],
    "sequential": lambda i: [1.0, -1.0],
    "first half": lambda i: [1.0, -1.0] if i < 6 else [1.0],
    "last half": lambda i: [1.0] if i < 6 else [1.0, -1.0],
    "an interval": lambda i: [1.0, -1.0] if 3 <= i < 9 else [1.0],
    "on and off": lambda i: [1.0, -1.0] if i % 2 else [1.0],
}


@pytest.mark.parametrize("guidance", GUIDANCE)
def test_branches_never_mix(guidance):
    model, sample = Denoiser(), torch.randn(1, 2)
    plain = guided(model, 12, GUIDANCE[guidance], sample)
    calls, model.computed = model.computed, 0
    with fc.attach(model, fc.Every(3, first=2), fc.Taylor()):
        forecast = guided(model, 12, GUIDANCE[guidance], sample)
    # The output is a straight line in time, which Taylor of order 1 follows; a branch that begins
    # late is reused until it has two features, so it may lag by an interval: 0.1 of a 1000 apart.
    for exact, got in zip(plain, forecast, strict=True):
        assert got == pytest.approx(exact, abs=0.5)
    assert model.computed < calls


def test_a_branch_switched_off_and_on_keeps_its_own_steps():
    model, sample = Denoiser(), torch.randn(1, 2)
    with fc.attach(model, fc.Listed([0, 1, 6]), fc.Taylor()) as session:
        guided(model, 10, GUIDANCE["last half"], sample)
    calls = session.report().calls
    computed = [(call.branch, call.step.index) for call in calls if call.was_computed]
    assert sorted(computed) == [(0, 0), (0, 1), (0, 6), (1, 6)]


def test_a_branch_is_known_by_its_conditions_when_another_is_switched_off():
    """The unconditional call first, and left out after the fourth step."""
    model, sample = Denoiser(), torch.randn(1, 2)
    yes, no = torch.tensor(1.0), torch.tensor(-1.0)
    for schedule in (fc.Every(3, first=2), fc.Listed([0, 1])):
        with fc.attach(model, schedule, fc.Taylor()) as session:
            outputs = guided(model, 10, lambda i: [no, yes] if i < 4 else [yes], sample)
        assert [output[-1] > 0 for output in outputs] == [True] * 10
        assert {call.branch for call in session.report().calls[8:]} == {1}


def test_a_branch_is_known_by_its_conditions_when_the_size_has_changed():
    """Branches 1 and 2 pause at step 3; at step 4, 2 comes first: not with the features of 0."""
    model, called = Denoiser(), [[0, 1, 2], [0, 1, 2], [2, 1], [0], [2, 0, 1]]
    pipe = FakePipeline([1.0, 0.8, 0.6, 0.4, 0.2], model)
    with fc.attach(pipe, fc.Every(4, first=3), fc.Reuse()):
        for index, branches in enumerate(called):
            sample = torch.zeros(1, 2 if index < 2 else 4)
            for branch in branches:
                condition = torch.full((1,), float(branch))
                output = model(sample, pipe.scheduler.timesteps[index], condition)["sample"]
                assert output.mean().item() == pytest.approx(1000 * branch, abs=1.0)


def test_no_branch_is_reported_twice_in_a_step():
    """Branches 0 and 1 were switched off: at the last step they come back behind 2."""
    model, called = Denoiser(), [[0, 1, 2], [0, 1, 2], [0], [2], [2, 0, 1]]
    pipe = FakePipeline([1.0, 0.8, 0.6, 0.4, 0.2], model)
    with fc.attach(pipe, fc.Every(1), fc.Reuse()) as session:
        for time, branches in zip(pipe.scheduler.timesteps, called, strict=True):
            for branch in branches:
                model(torch.zeros(1, 2), time, torch.full((2,), float(branch)))
    assert [call.branch for call in session.report().calls[-3:]] == [2, 1, 3]


def test_an_output_without_tensors_is_refused():
    class Opaque(torch.nn.Module):
        def forward(self, x, timestep):
            return Clock(None)

    opaque = Opaque()
    with (
        fc.attach(opaque, fc.Every(2), fc.Reuse()),
        pytest.raises(fc.errors.HistoryError, match="returned Clock, in which no tensor"),
    ):
        opaque(torch.zeros(1), torch.tensor(3.0))


def test_a_change_of_return_type_starts_afresh():
    model, sample = Denoiser(), torch.randn(1, 2)
    with fc.attach(model, fc.Listed([0]), fc.Reuse()):
        outputs = [
            model(sample, torch.tensor(t), return_dict=as_dict)
            for t, as_dict in ((900.0, True), (800.0, True), (700.0, False), (600.0, False))
        ]
    assert [type(output) for output in outputs] == [dict, dict, tuple, tuple]


def test_a_bare_models_run_can_be_reset():
    model, sample = Denoiser(), torch.randn(1, 2)
    with fc.attach(model, fc.Listed([0]), fc.Reuse()) as session:
        model(sample, torch.tensor(900.0))
        session.reset()
        assert model(sample, torch.tensor(500.0), 1.0)["sample"].mean() > 500


@pytest.mark.parametrize("call", [lambda m: m(torch.zeros(1), None), lambda m: m(3, 900.0)])
def test_a_call_without_time_or_tensor_is_refused(call):
    model = Denoiser()
    with (
        fc.attach(model, fc.Every(2), fc.Reuse()),
        pytest.raises(fc.errors.AttachError, match="was called without"),
    ):
        call(model)


class Conditioned(torch.nn.Module):
    """Drifts with time, away from its condition."""

    def forward(self, x, timestep, condition):
        return x * timestep + condition


def told(session: fc.Session) -> list[tuple[int, int, bool]]:
    return [(c.step.index, c.branch, c.was_computed) for c in session.report().calls]


def test_guidance_switched_on_with_the_unconditional_half_first_does_not_mix():
    model, x = Conditioned(), torch.ones(2)
    yes, no = torch.full((2,), 100.0), torch.zeros(2)
    with fc.attach(model, fc.Listed([0, 1, 2]), fc.Taylor()) as session:
        for time in (9.0, 8.0, 7.0, 6.0):
            model(x, torch.tensor(time), yes)
        assert model(x, torch.tensor(5.0), no).tolist() == [5.0, 5.0]
        assert model(x, torch.tensor(5.0), yes).tolist() == [105.0, 105.0]
        assert told(session)[-2:] == [(4, 1, True), (4, 0, False)]


class Spoken(nn.Module):
    """Drifts with time, away from what a text of any length says."""

    def forward(self, x, timestep, text):
        return x * timestep + text.mean()


# The texts of each step's calls, in order: what is said, and how long.
YES, NO, OTHER = (0, 5), (1, 2), (2, 3)
TEXTS = {
    "a third in between": [[YES, NO]] * 3 + [[YES, OTHER, NO]] * 3 + [[YES, NO]] * 2,
    "a third in between after one step": [[YES, NO]] + [[YES, OTHER, NO]] * 5,
    "a third in front, now and then": [[YES, NO], [OTHER, YES, NO]] * 4,
    "the unconditional half in front after one step": [[YES]] + [[NO, YES]] * 5,
}


def speak(texts: list[list[tuple[int, int]]], moving: float = 0.0) -> tuple[CallRecord, ...]:
    """Calls with these texts, which say something else at every step where they move."""
    pipe = FakePipeline([1.0 - index / len(texts) for index in range(len(texts))], Spoken())
    with fc.attach(pipe, fc.Listed([0, 1]), fc.Taylor()) as session:
        for index, (time, said) in enumerate(zip(pipe.scheduler.timesteps, texts)):
            for what, length in said:
                pipe.transformer(torch.ones(2), time, torch.full((length,), what + moving * index))
        return session.report().calls


@pytest.mark.parametrize("name", TEXTS)
def test_branches_with_texts_of_other_lengths_do_not_take_each_others_number(name):
    said = [what for step in TEXTS[name] for what, _ in step]
    numbers = {(what, call.branch) for what, call in zip(said, speak(TEXTS[name]), strict=True)}
    assert len(numbers) == len(set(said)) == len({number for _, number in numbers})


def test_branches_whose_texts_move_are_known_by_their_lengths():
    calls = speak(TEXTS["a third in between"], moving=0.1)
    for number in (0, 1):
        steps = [(call.step.index, call.was_computed) for call in calls if call.branch == number]
        assert steps == [(index, index < 2) for index in range(8)]


def test_texts_of_another_length_at_every_step_hold_no_more_than_the_newest():
    calls = speak([[(0, 1 + index)] for index in range(9)])
    assert all(call.was_computed for call in calls)
    assert max(call.branch for call in calls) < 3


def test_conditions_that_change_at_every_step_open_no_branches():
    model, x = Conditioned(), torch.ones(2)
    with fc.attach(model, fc.Listed([0, 1]), fc.Taylor()) as session:
        for time in (9.0, 8.0, 7.0, 6.0):
            model(x, torch.tensor(time), torch.full((2,), time))
        assert told(session) == [(0, 0, True), (1, 0, True), (2, 0, False), (3, 0, False)]
