"""Forecasting through diffusers' own pipelines: loops, guidance, callbacks and schedulers."""

from __future__ import annotations

import copy
import weakref
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from typing import Any

import pytest
import torch
from diffusers import LayerSkipConfig
from diffusers.callbacks import SDCFGCutoffCallback
from diffusers.guiders import ClassifierFreeGuidance, SkipLayerGuidance
from diffusers.hooks import apply_layer_skip
from torch import nn

import forecastcache as fc
from forecastcache.errors import BudgetError

from ..conftest import SITES
from .pipelines import PIPELINES, Case, rand, run, wan_modular

EVERY_THIRD = fc.Every(3, first=2)
LINE = fc.Taylor(order=1)


def scheduled(steps: int, begins: tuple[int, ...] = (0,)) -> tuple[int, ...]:
    """The steps that EVERY_THIRD computes, and those at which a history is still empty."""
    return tuple(sorted({*EVERY_THIRD.computed(steps), *begins}))


# These differ from their likes in nothing that is looked at here.
LIKE_OTHERS = ("dit", "hunyuan_video_true_guidance", "wan_tokens_with_times")


@pytest.fixture(scope="module")
def shared(request) -> Iterator[tuple[Case, torch.Tensor]]:
    """A pipeline for the tests of all sites, and its plain run, which is the same after them."""
    case = PIPELINES[request.param]()
    plain = run(case.pipe, case.request)
    yield case, plain
    assert torch.equal(run(case.pipe, case.request), plain)


@pytest.mark.parametrize("site", SITES)
@pytest.mark.parametrize(
    "shared", [name for name in PIPELINES if name not in LIKE_OTHERS], indirect=True
)
def test_every_pipeline_at_every_site(shared, site):
    case, plain = shared
    pipe, request = case.pipe, case.request
    with fc.attach(pipe, fc.Every(1), LINE, site=site):
        assert torch.equal(run(pipe, request), plain)

    with fc.attach(pipe, EVERY_THIRD, LINE, site=site) as session:
        forecast = run(pipe, request)
        calls = calls_of(session)[:]
        if site == "module":  # of each model every site is planned by test_check_adapter.py
            report = session.report()
            assert report.computed == scheduled(case.steps, case.begins_at(site))
            assert report.cache_bytes == report.cache_bytes_planned > 0
        assert torch.equal(run(pipe, request), forecast)
    assert forecast.shape == plain.shape
    assert forecast.isfinite().all()
    assert not torch.equal(forecast, plain)
    expected = [(i, b) for i in range(case.steps) for b in range(case.branches)]
    assert [(call.step.index, call.branch) for call in calls] == expected
    assert {call.step.total for call in calls} == {case.steps}
    computed = {call.step.index for call in calls if call.was_computed}
    assert computed == {*scheduled(case.steps, case.begins_at(site))}
    assert not any("forward" in model.__dict__ for model in case.models)


HALF = ("dit", "flux", "qwen_image", "hunyuan_video", "wan", "hidream")


@pytest.mark.parametrize("site", SITES)
@pytest.mark.parametrize("name", HALF)
def test_in_bfloat16_the_steps_computed_are_those_of_the_schedule(name, site):
    """HunyuanVideo's pipeline tells the first time in float32 and the others in bfloat16."""
    case = PIPELINES[name]()
    case.pipe.to(torch.bfloat16)
    request = {
        key: value.bfloat16() if torch.is_tensor(value) and value.is_floating_point() else value
        for key, value in case.request.items()
    }
    with fc.attach(case.pipe, EVERY_THIRD, LINE, site=site) as session:
        run(case.pipe, request)
        calls = calls_of(session)
    assert {call.step.index for call in calls} == {*range(case.steps)}
    for branch in range(case.branches):
        computed = [c.step.index for c in calls if c.branch == branch and c.was_computed]
        assert computed == [*scheduled(case.steps)]


def calls_of(session: fc.Session) -> list[fc.CallRecord]:
    """As in the report, without the dry run that a report takes."""
    return session._runs.newest.calls


@pytest.mark.parametrize("site", SITES)
def test_each_section_of_framepack_is_a_trajectory(site):
    case = PIPELINES["framepack"]()
    computed = []
    attention = case.pipe.transformer.transformer_blocks[0].attn
    attention.register_forward_hook(lambda *_: computed.append(case.pipe.scheduler.step_index))
    with fc.attach(case.pipe, EVERY_THIRD, LINE, site=site):
        run(case.pipe, case.request)
    # The scheduler counts from its first step on.
    assert [step or 0 for step in computed] == [*scheduled(case.steps)] * 2


@pytest.mark.parametrize("site", SITES)
def test_tokens_with_times_of_their_own_are_forecast_alike(site):
    """Without a given frame these are all the same, and so is the result."""
    forecasts = []
    for name in ("wan", "wan_tokens_with_times"):
        case = PIPELINES[name]()
        with fc.attach(case.pipe, EVERY_THIRD, LINE, site=site) as session:
            forecasts.append(run(case.pipe, case.request))
            computed = {call.step.index for call in calls_of(session) if call.was_computed}
        assert computed == {*scheduled(case.steps)}
    # Embedded token by token, times round otherwise: 2e-6 at most was seen.
    torch.testing.assert_close(*forecasts, rtol=0, atol=1e-5)


GUIDED = {
    # what switches guidance off
    "flux_true_guidance": {"true_cfg_scale": 1.0},
    "qwen_image": {"true_cfg_scale": 1.0},
    "hunyuan_video_true_guidance": {"true_cfg_scale": 1.0},
    "framepack_true_guidance": {"true_cfg_scale": 1.0},
    "wan": {"guidance_scale": 1.0},
    "wan_of_two": {"guidance_scale": 1.0},
    "hidream": {"guidance_scale": 1.0},
    "dit": {"guidance_scale": 1.0},
}


@pytest.mark.parametrize(
    ("name", "site"), [*((name, "block") for name in GUIDED), ("wan", "output"), ("dit", "output")]
)
def test_guidance_on_or_off_from_run_to_run(name, site):
    case, off = PIPELINES[name](), GUIDED[name]

    def attached() -> fc.Session:
        return fc.attach(case.pipe, EVERY_THIRD, LINE, site=site)

    with attached():
        with_guidance = run(case.pipe, case.request)
    with attached() as session:
        without_guidance = run(case.pipe, case.request, **off)
        assert {call.branch for call in calls_of(session)} == {0}
    assert not torch.equal(with_guidance, without_guidance)
    with attached():
        for changes in (off, {}, off):
            expected = without_guidance if changes else with_guidance
            assert torch.equal(run(case.pipe, case.request, **changes), expected)


Pick = Callable[[dict[str, Any]], str]


@contextmanager
def apart(
    model: nn.Module,
    site: str,
    pick: Pick,
    steps: dict[str, list[int]],
    without_layers: LayerSkipConfig | None = None,
) -> Iterator[None]:
    """Each branch on a copy of the model with a session of its own, so that none can mix.

    A copy counts its own calls: `steps` are the computed ones by branch, from its first call on.
    That of the branch `skip` leaves out layers.
    """
    forwards = {}
    with ExitStack() as stack:
        for name, listed in steps.items():
            twin = copy.deepcopy(model)
            if name == "skip":
                apply_layer_skip(twin, without_layers)
            stack.enter_context(fc.attach(twin, fc.Listed(listed), LINE, site=site))
            forwards[name] = twin
        model.forward = lambda **given: forwards[pick(given)](**given)
        yield
        del model.forward


def by_prompt(case: Case) -> Pick:
    negative = case.request["negative_prompt_embeds"]
    return lambda given: "no" if torch.equal(given["encoder_hidden_states"], negative) else "yes"


def switch_guidance(after: int, scale: float) -> Callable[..., dict[str, Any]]:
    def callback(pipe: Any, step: int, *_: Any) -> dict[str, Any]:
        if step == after:
            pipe._guidance_scale = scale
        return {}

    return callback


# By name: the pipeline, how guidance changes on the way, the steps that the unconditional branch
# is called at, and those of them at which it is computed.
SWITCHES: dict[str, tuple[Callable[[], Case], dict[str, Any], range, list[int]]] = {
    "diffusers' own cut-off": (
        PIPELINES["wan"],
        {"callback_on_step_end": SDCFGCutoffCallback(None, cutoff_step_index=2)},
        range(3),
        [0, 1],
    ),
    "off": (
        PIPELINES["wan_video_to_video"],
        {"callback_on_step_end": switch_guidance(after=3, scale=1.0)},
        range(4),
        [0, 1],
    ),
    "on": (
        PIPELINES["wan"],
        {"callback_on_step_end": switch_guidance(after=2, scale=4.0), "guidance_scale": 1.0},
        range(3, 8),
        [3, 4, 7],
    ),
    "an interval": (
        lambda: wan_modular(ClassifierFreeGuidance(4.0, start=0.25, stop=0.75)),
        {},
        range(2, 6),
        [2, 4],
    ),
}


@pytest.mark.parametrize("site", SITES)
@pytest.mark.parametrize("name", SWITCHES)
def test_guidance_switched_in_the_middle(name, site):
    make_case, changes, guided, computed = SWITCHES[name]
    case = make_case()
    with fc.attach(case.pipe, EVERY_THIRD, LINE, site=site) as session:
        forecast = run(case.pipe, case.request, **changes)
        calls = calls_of(session)[:]
        assert torch.equal(run(case.pipe, case.request, **changes), forecast)
    assert [call.step.index for call in calls if call.branch == 0] == [*range(case.steps)]
    assert [call.step.index for call in calls if call.branch == 1] == [*guided]

    steps = {
        "yes": list(scheduled(case.steps)),
        "no": [step - guided.start for step in computed],
    }
    with apart(case.pipe.transformer, site, by_prompt(case), steps):
        assert torch.equal(run(case.pipe, case.request, **changes), forecast)


def test_a_branch_that_comes_late_is_in_the_plan():
    make_case, changes, _, _ = SWITCHES["on"]
    case = make_case()
    with fc.attach(case.pipe, EVERY_THIRD, LINE, site="module") as session:
        run(case.pipe, case.request, **changes)
        report = session.report()
        run(case.pipe, case.request)
        assert report.cache_bytes == report.cache_bytes_planned == session.report().cache_bytes


@pytest.mark.parametrize("site", SITES)
def test_batched_guidance_switched_off_in_the_middle(site):
    """HiDream: the batch is halved, and features of both halves say nothing of one."""
    case = PIPELINES["hidream"]()
    conditional = ("prompt_embeds_t5", "prompt_embeds_llama3", "pooled_prompt_embeds")

    def halve(pipe: Any, step: int, *_: Any) -> dict[str, Any]:
        if step != 4:
            return {}
        pipe._guidance_scale = 1.0
        return {name: case.request[name] for name in conditional}

    with fc.attach(case.pipe, EVERY_THIRD, LINE, site=site) as session:
        forecast = run(case.pipe, case.request, callback_on_step_end=halve)
        report = session.report()
    assert report.computed == (0, 1, 4, 5, 7)
    assert {call.branch for call in report.calls} == {0}
    assert report.cache_bytes == report.cache_bytes_planned

    def pick(given: dict[str, Any]) -> str:
        return "both" if len(given["hidden_states"]) == 2 else "one"

    with apart(case.pipe.transformer, site, pick, {"both": [0, 1, 4], "one": [0, 2]}):
        assert torch.equal(run(case.pipe, case.request, callback_on_step_end=halve), forecast)


@pytest.mark.parametrize("site", SITES)
def test_a_third_branch_that_comes_and_goes(site):
    """Skip-layer guidance: the conditional call once more, without one block of the model."""
    layers = LayerSkipConfig(indices=[1], fqn="blocks")
    # From the step after 20 % to that before 70 %.
    guider = SkipLayerGuidance(4.0, 2.0, 0.2, 0.7, skip_layer_config=layers)
    case = wan_modular(guider)
    plain = run(case.pipe, case.request)
    with fc.attach(case.pipe, fc.Every(1), LINE, site=site):
        assert torch.equal(run(case.pipe, case.request), plain)
    with fc.attach(case.pipe, EVERY_THIRD, LINE, site=site) as session:
        forecast = run(case.pipe, case.request)
        calls = calls_of(session)[:]
    assert [call.step.index for call in calls if call.branch == 1] == [*range(8)]
    third = [(call.step.index, call.was_computed) for call in calls if call.branch == 2]
    assert third == [(2, True), (3, False), (4, True)]

    turns = iter([("yes", "no", "skip")[call.branch] for call in calls])
    steps = {"yes": [0, 1, 4, 7], "no": [0, 1, 4, 7], "skip": [0, 2]}
    with apart(case.pipe.transformer, site, lambda given: next(turns), steps, layers):
        assert torch.equal(run(case.pipe, case.request), forecast)


def switch_prompt(after: int, prompt: torch.Tensor) -> Callable[..., dict[str, Any]]:
    return lambda pipe, step, *_: {"prompt_embeds": prompt} if step == after else {}


@pytest.mark.parametrize("site", SITES)
def test_a_prompt_switched_in_the_middle(site):
    """What was computed for the old prompt says nothing of the new one."""
    case = PIPELINES["wan"]()
    changes = {"callback_on_step_end": switch_prompt(2, rand(1, 5, 12) + 0.5)}
    with fc.attach(case.pipe, EVERY_THIRD, LINE, site=site) as session:
        forecast = run(case.pipe, case.request, **changes)
        calls = calls_of(session)[:]
    assert [call.branch for call in calls] == [0, 1] * 3 + [2, 1] * 5
    switched = next(call for call in calls if call.branch == 2)
    assert (switched.step.index, switched.was_computed) == (3, True)

    prompts = iter(["old", "no"] * 3 + ["new", "no"] * 5)
    steps = {"old": [0, 1], "no": [*scheduled(case.steps)], "new": [0, 1, 4]}
    with apart(case.pipe.transformer, site, lambda given: next(prompts), steps):
        assert torch.equal(run(case.pipe, case.request, **changes), forecast)


@pytest.mark.parametrize("site", SITES)
def test_a_prompt_switched_to_the_negative_one(site):
    """Then both calls of a step carry the same, and are still two branches."""
    case = PIPELINES["wan"]()
    model, negative = case.pipe.transformer, case.request["negative_prompt_embeds"]
    changes = {"callback_on_step_end": switch_prompt(1, negative)}
    seen: list[tuple[dict[str, Any], torch.Tensor]] = []
    model.register_forward_hook(
        lambda model, args, given, output: seen.append((given, output[0])), with_kwargs=True
    )
    with fc.attach(case.pipe, EVERY_THIRD, LINE, site=site) as session:
        forecast = run(case.pipe, case.request, **changes)
        branches = [call.branch for call in calls_of(session)]
    assert forecast.isfinite().all()
    assert len(branches) == 2 * case.steps
    assert all(one != other for one, other in zip(branches[::2], branches[1::2]))

    # The first unconditional call after the switch, which both ways of running come to alike.
    given, unconditional = seen[5]
    seen.clear()
    turns = iter(["yes", "no"] * case.steps)
    steps = {name: [*scheduled(case.steps)] for name in ("yes", "no")}
    with apart(model, site, lambda given: next(turns), steps):
        run(case.pipe, case.request, **changes)
    _, from_its_own_history = seen[5]
    with torch.no_grad():
        computed, *_ = model(**given)
    assert any(torch.equal(unconditional, each) for each in (from_its_own_history, computed))


BATCHED = {
    # names of what is conditional and what it is not, first half first
    "dit": ("class_labels", torch.tensor([1, 2]), torch.tensor([1000, 1000])),
    "hidream": ("encoder_hidden_states_t5", -rand(1, 5, 12), rand(1, 5, 12)),
}


@pytest.mark.parametrize("site", SITES)
@pytest.mark.parametrize("name", BATCHED)
def test_the_halves_of_a_batch_do_not_mix(name, site):
    case = PIPELINES[name]()
    model = case.pipe.transformer
    condition, first, second = BATCHED[name]
    with fc.attach(case.pipe, EVERY_THIRD, LINE, site=site):
        forecast = run(case.pipe, case.request)

    halves = [copy.deepcopy(model) for _ in range(2)]

    def separately(hidden_states: torch.Tensor, **given: Any) -> Any:
        given["hidden_states"] = hidden_states
        outputs = []
        for i, half in enumerate(halves):
            own = {
                name: x.chunk(2, dim=int(name.endswith("llama3")))[i] if torch.is_tensor(x) else x
                for name, x in given.items()
            }
            assert torch.equal(own[condition], (first, second)[i])
            outputs.append(half(**own))
        joined = torch.cat([output[0] for output in outputs])
        return (joined,) if isinstance(outputs[0], tuple) else type(outputs[0])(joined)

    model.forward = separately
    schedule = fc.Listed(scheduled(case.steps))
    with (
        fc.attach(halves[0], schedule, LINE, site=site),
        fc.attach(halves[1], schedule, LINE, site=site),
    ):
        # Products of half the rows round otherwise: 2e-6 at most was seen.
        torch.testing.assert_close(run(case.pipe, case.request), forecast, rtol=0, atol=1e-5)


INTERRUPTED = ("flux", "flux_img2img", "framepack", "wan", "wan_of_two", "hidream")


@pytest.mark.parametrize("site", ["output", "block"])
@pytest.mark.parametrize("name", INTERRUPTED)
def test_an_interrupted_run_does_not_reach_the_next(name, site):
    case = PIPELINES[name]()
    with fc.attach(case.pipe, EVERY_THIRD, LINE, site=site):
        uninterrupted = run(case.pipe, case.request)

    with fc.attach(case.pipe, EVERY_THIRD, LINE, site=site) as session:
        for stop_after in (0, 3):

            def interrupt(pipe: Any, step: int, *_: Any, last: int = stop_after) -> dict[str, Any]:
                pipe._interrupt = step == last
                return {}

            run(case.pipe, case.request, callback_on_step_end=interrupt, seed=1)
            assert max(call.step.index for call in calls_of(session)) == stop_after
            assert torch.equal(run(case.pipe, case.request), uninterrupted)


@pytest.fixture
def rings(monkeypatch) -> list[weakref.ref]:
    """References to every ring that is allocated."""
    made: list[weakref.ref] = []
    allocate = fc.History._allocate

    def watch(self: fc.History, feature: torch.Tensor) -> torch.Tensor:
        ring = allocate(self, feature)
        made.append(weakref.ref(ring))
        return ring

    monkeypatch.setattr(fc.History, "_allocate", watch)
    return made


def alive(rings: list[weakref.ref]) -> set[int]:
    return {i for i, ring in enumerate(rings) if ring() is not None}


@pytest.mark.parametrize("site", [site for site in SITES if site != "output"])
def test_the_second_transformer_begins_with_histories_of_its_own(site, rings):
    case = PIPELINES["wan_of_two"]()
    switch = case.begins[1]
    assert switch not in EVERY_THIRD.computed(case.steps)
    computed: list[list[int]] = [[], []]
    for seen, model in zip(computed, case.models):
        model.blocks[0].attn1.register_forward_hook(
            lambda *_, seen=seen: seen.append(case.pipe.scheduler.step_index or 0)
        )
    held: list[set[int]] = []

    def look(*_: Any) -> dict[str, Any]:
        held.append(alive(rings))
        return {}

    with fc.attach(case.pipe, EVERY_THIRD, LINE, site=site) as session:
        forecast = run(case.pipe, case.request, callback_on_step_end=look)
        report = session.report()
    # Two calls a step: conditional and unconditional.
    assert computed == [[0, 0, 1, 1, 4, 4], [5, 5, 7, 7]]
    first, second = set(range(len(rings) // 2)), set(range(len(rings) // 2, len(rings)))
    assert held == [first] * switch + [second] * 2 + [set()]
    assert report.cache_bytes == report.cache_bytes_planned

    with (
        apart(case.models[0], site, by_prompt(case), {"yes": [0, 1, 4], "no": [0, 1, 4]}),
        apart(case.models[1], site, by_prompt(case), {"yes": [0, 2], "no": [0, 2]}),
    ):
        assert torch.equal(run(case.pipe, case.request), forecast)


@pytest.mark.parametrize("name", ["flux_true_guidance", "framepack", "wan_of_two", "hidream"])
def test_nothing_is_held_once_a_run_has_ended(name, rings):
    case = PIPELINES[name]()
    with fc.attach(case.pipe, EVERY_THIRD, LINE, site="block"):
        run(case.pipe, case.request)
        assert rings
        assert not alive(rings)


@pytest.mark.parametrize("name", SWITCHES)
def test_nothing_is_held_once_a_run_with_guidance_switched_has_ended(name, rings):
    make_case, changes, _, _ = SWITCHES[name]
    case = make_case()
    with fc.attach(case.pipe, EVERY_THIRD, LINE, site="block"):
        run(case.pipe, case.request, **changes)
        assert rings
        assert not alive(rings)


def test_a_budget_counts_the_longer_half():
    case = PIPELINES["qwen_image_short_negative"]()
    swapped = {
        name: case.request[f"negative_{name}"] for name in ("prompt_embeds", "prompt_embeds_mask")
    } | {
        f"negative_{name}": case.request[name] for name in ("prompt_embeds", "prompt_embeds_mask")
    }
    with fc.attach(case.pipe, EVERY_THIRD, LINE, site="block") as session:
        run(case.pipe, case.request, **swapped)
        held = session.report().cache_bytes
    with (
        fc.attach(case.pipe, EVERY_THIRD, LINE, site="block", budget=held - 1),
        pytest.raises(BudgetError),
    ):
        run(case.pipe, case.request, **swapped)
    with fc.attach(case.pipe, EVERY_THIRD, LINE, site="block", budget=held):
        run(case.pipe, case.request, **swapped)
