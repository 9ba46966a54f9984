"""Schedules that decide as they run, and what they may look at."""

from __future__ import annotations

from typing import Any

import pytest
import torch

import forecastcache as fc
from forecastcache.errors import AttachError, ScheduleError
from forecastcache.registry import SCHEDULES, adapter_for

from ..adapters.tiny import Tiny, make
from ..conftest import make_unconditional, sample

FAMILIES = ("dit", "flux", "qwen_image", "hunyuan_video", "framepack", "wan", "hidream")
TIMES = (900.0, 700.0, 500.0, 300.0)


class WhenMoved(fc.Schedule):
    """Computes when the model's input has moved far enough since the last computed step."""

    threshold: float

    def compute(self, step, state):
        anchor = state.memory.get("anchor")
        moved = anchor is None or (state.sample - anchor).norm() > self.threshold * anchor.norm()
        if moved:
            state.memory["anchor"] = state.sample.clone()
        return bool(moved)


class Watching(fc.Schedule):
    """Computes the listed steps and notes what it sees of a signal."""

    signal: str
    steps: tuple[int, ...] = (0, 2)

    @property
    def needs(self):
        return frozenset({self.signal})

    def compute(self, step, state):
        look = {
            "first_block": state.first_block_residual,
            "modulated": state.modulated_embedding,
            "output": lambda: (state.computed_output, state.forecast_output),
        }
        SEEN.append(look[self.signal]())
        return step.index in self.steps


SEEN: list[Any] = []


@pytest.fixture(autouse=True)
def clear():
    SEEN.clear()


def run(tiny: Tiny, times: tuple[float, ...] = TIMES) -> list[torch.Tensor]:
    """The outputs of a trajectory; the sample moves with time."""
    name = adapter_for(tiny.model).time_argument(tiny.model)
    outputs = []
    for time in times:
        given = dict(tiny.arguments)
        given["hidden_states"] = given["hidden_states"] * (1 + time / 1000)
        given[name] = torch.full((len(given["hidden_states"]),), time)
        with torch.no_grad():
            outputs.append(tiny.model(**given, return_dict=False)[0])
    return outputs


def test_a_schedule_may_decide_as_it_runs(pipe):
    with fc.attach(pipe, WhenMoved(threshold=0.1), fc.Taylor()) as session:
        first = sample(pipe)
        adaptive = session.report().computed
        assert torch.equal(sample(pipe), first)
    assert adaptive[0] == 0
    assert 1 < len(adaptive) < 12
    with fc.attach(pipe, fc.Listed(adaptive), fc.Taylor()):
        assert torch.equal(sample(pipe), first)
    with pytest.raises(ScheduleError, match="decides as it runs"):
        WhenMoved(threshold=0.1).computed(12)


@pytest.mark.parametrize("name", FAMILIES)
def test_the_first_blocks_residual_is_what_the_block_adds_to_the_image(name):
    tiny = make(name)
    block = tiny.model.get_submodule(adapter_for(tiny.model).trunk[0].path)[0]
    given: list[torch.Tensor] = []
    made: list[Any] = []
    handles = [
        block.register_forward_pre_hook(
            lambda _, args, kwargs: given.append(kwargs.get("hidden_states", (*args, None)[0])),
            with_kwargs=True,
        ),
        block.register_forward_hook(lambda _, args, output: made.append(output)),
    ]
    run(tiny)
    for handle in handles:
        handle.remove()
    with fc.attach(tiny.model, Watching(signal="first_block"), fc.Reuse()):
        run(tiny)
    streams = adapter_for(tiny.model).trunk[0].streams
    assert len(SEEN) == len(TIMES)
    for seen, before, after in zip(SEEN, given, made, strict=True):
        after = after[streams.index("hidden_states")] if isinstance(after, tuple) else after
        assert torch.equal(seen, after - before)


@pytest.mark.parametrize("name", [it for it in FAMILIES if it != "framepack"])
def test_the_modulated_embedding_is_what_the_named_module_makes(name):
    tiny = make(name)
    path = adapter_for(tiny.model).modulated
    assert path is not None
    made: list[Any] = []
    handle = tiny.model.get_submodule(path).register_forward_hook(
        lambda _, args, output: made.append(output)
    )
    run(tiny)
    handle.remove()
    with fc.attach(tiny.model, Watching(signal="modulated"), fc.Reuse()):
        run(tiny)
    for seen, output in zip(SEEN, made, strict=True):
        assert torch.equal(seen, output[0] if isinstance(output, tuple) else output)
    assert not torch.equal(SEEN[0], SEEN[1])  # it moves with time


@pytest.mark.parametrize("signal", ["first_block", "modulated", "output"])
@pytest.mark.parametrize("name", ["dit", "flux", "wan"])
def test_looking_changes_nothing(name, signal):
    tiny = make(name)
    plain = run(tiny)
    before = [(path, id(module)) for path, module in tiny.model.named_modules()]
    with fc.attach(tiny.model, Watching(signal=signal, steps=(0, 1, 2, 3)), fc.Reuse()):
        assert all(map(torch.equal, run(tiny), plain))
        assert [(path, id(module)) for path, module in tiny.model.named_modules()] == before
    with fc.attach(tiny.model, Watching(signal=signal), fc.Taylor()) as session:
        watched = run(tiny)
    assert session.report().computed == (0, 2)
    with fc.attach(tiny.model, fc.Listed([0, 2]), fc.Taylor()):
        assert all(map(torch.equal, run(tiny), watched))


def test_a_look_runs_no_block_but_the_first():
    tiny = make("flux")
    ran: list[int] = []
    for number, block in enumerate(tiny.model.transformer_blocks):
        block.attn.register_forward_hook(lambda *_, number=number: ran.append(number))
    with fc.attach(tiny.model, Watching(signal="first_block"), fc.Reuse()):
        run(tiny)
    assert ran == [
        0,
        0,
        1,
        0,
        0,
        0,
        1,
        0,
    ]  # each step's look, then blocks 0 and 1 of steps 0 and 2
    ran.clear()
    with fc.attach(tiny.model, Watching(signal="modulated"), fc.Reuse()):
        run(tiny)
    assert ran == [0, 1, 0, 1]


def test_the_newest_outputs_are_those_of_the_calls_before():
    tiny = make("dit")
    with fc.attach(tiny.model, Watching(signal="output"), fc.Reuse()):
        first, second, third, _ = run(tiny)
    assert SEEN[0] == (None, None)
    for seen, expected in zip(SEEN[1:], [(first, None), (first, second), (third, second)]):
        for one, other in zip(seen, expected, strict=True):
            assert one is other is None or torch.equal(one, other)


class Remembering(fc.Schedule):
    """Counts its own calls in the memory it is given."""

    def compute(self, step, state):
        state.memory["calls"] = state.memory.get("calls", 0) + 1
        SEEN.append(state.memory["calls"])
        return True


def test_memory_is_one_a_branch_and_ends_with_the_trajectory():
    tiny = make("dit")
    other = tiny.arguments | {"class_labels": torch.tensor([3, 4])}
    with fc.attach(tiny.model, Remembering(), fc.Reuse()), torch.no_grad():
        for times in (TIMES[:2], TIMES[:2]):
            for time in times:
                for given in (tiny.arguments, other):
                    tiny.model(**given, timestep=torch.full((2,), time))
    assert SEEN == [1, 1, 2, 2, 1, 1, 2, 2]


class Unasked(fc.Schedule):
    def compute(self, step, state):
        return bool(state.first_block_residual().mean() > 0)


class Vague(fc.Schedule):
    def compute(self, step, state):
        return state.sample.mean() > 0


@pytest.mark.parametrize(
    ("schedule", "complaint"),
    [
        (Unasked(), "looks at first_block, but does not ask for it: add it to `needs`"),
        (Vague(), r"compute gave tensor\((True|False)\): it must give True or False"),
    ],
)
def test_a_schedule_that_does_not_keep_to_its_contract_is_told(schedule, complaint):
    tiny = make("dit")
    with (
        fc.attach(tiny.model, schedule, fc.Reuse()),
        pytest.raises(ScheduleError, match=complaint),
    ):
        run(tiny)


@pytest.mark.parametrize("signal", ["first_block", "modulated"])
def test_what_a_model_does_not_show_is_refused_at_attach(signal):
    pipe = make_unconditional()
    with pytest.raises(AttachError, match=f"'generic' names no {signal}: use a schedule that"):
        fc.attach(pipe, Watching(signal=signal), fc.Reuse())
    assert "forward" not in pipe.unet.__dict__


def test_what_lies_inside_a_compiled_part_is_refused():
    tiny = make("flux")
    tiny.model.transformer_blocks[0].compile(backend="eager")
    with pytest.raises(AttachError, match=r"blocks.0 is compiled, and inside it .*norm1"):
        fc.attach(tiny.model, Watching(signal="modulated"), fc.Reuse())
    fc.attach(tiny.model, Watching(signal="first_block"), fc.Reuse()).detach()
    torch._dynamo.reset()


def test_an_interrupted_look_leaves_nothing():
    tiny = make("flux")
    before = [(path, id(module)) for path, module in tiny.model.named_modules()]
    attention = tiny.model.transformer_blocks[0].attn

    def stop(*_):
        raise KeyboardInterrupt

    handle = attention.register_forward_hook(stop)
    session = fc.attach(tiny.model, Watching(signal="first_block"), fc.Reuse())
    with pytest.raises(KeyboardInterrupt):
        run(tiny)
    handle.remove()
    session.detach()
    assert [(path, id(module)) for path, module in tiny.model.named_modules()] == before


def test_it_is_asked_for_by_its_name(pipe, monkeypatch):
    monkeypatch.setattr(SCHEDULES, "_added", {})
    fc.register_schedule("moved")(WhenMoved)
    with fc.attach(pipe, "moved:threshold=0.1", "taylor:1") as by_name:
        sample(pipe)
    with fc.attach(pipe, WhenMoved(threshold=0.1), fc.Taylor(1)) as by_object:
        sample(pipe)
    assert by_name.report().computed == by_object.report().computed
    with pytest.raises(fc.errors.OptionError, match="moved has no option 'limit'; it takes thres"):
        fc.attach(pipe, "moved:limit=0.1", "reuse")
    with pytest.raises(fc.errors.OptionError, match="moved needs threshold"):
        fc.attach(pipe, "moved", "reuse")
