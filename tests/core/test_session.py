"""What attaching does, what it leaves behind, and what it refuses."""

from __future__ import annotations

import copy
import functools
import gc
import pickle
import threading
import weakref

import pytest
import torch
from accelerate.hooks import AlignDevicesHook, add_hook_to_module, remove_hook_from_module
from diffusers import DDIMScheduler, HeunDiscreteScheduler, PNDMScheduler
from torch import nn

import forecastcache as fc
from forecastcache import taps
from forecastcache.errors import AttachError, NotFiniteError, ScheduleError

from ..conftest import SITES, make_pipeline, make_transformer, sample

EVERY_THIRD = fc.Every(3, first=2)


def fingerprint(model: nn.Module) -> tuple:
    """Everything by which a model could be told from one that was never attached to."""
    modules = [(name, id(module)) for name, module in model.named_modules()]
    dicts = [(name, sorted(module.__dict__)) for name, module in model.named_modules()]
    hooks = [len(m._forward_hooks) + len(m._forward_pre_hooks) for m in model.modules()]
    return modules, dicts, hooks, model.forward, list(model.state_dict())


@pytest.mark.parametrize("site", SITES)
def test_all_computed_is_bit_identical(pipe, site):
    plain = sample(pipe)
    with fc.attach(pipe, fc.Every(1), fc.Taylor(order=2), site=site) as session:
        assert torch.equal(sample(pipe), plain)
    assert session.report().computed == tuple(range(12))


@pytest.mark.parametrize("site", SITES)
def test_forecasting_changes_the_picture_a_little_and_skips_the_rest(pipe, site):
    plain = sample(pipe)
    with fc.attach(pipe, EVERY_THIRD, fc.Taylor(), site=site) as session:
        picture = sample(pipe)
    assert session.report().computed == (0, 1, 4, 7, 10)
    assert 0 < (picture - plain).abs().mean() < 0.05


@pytest.mark.parametrize("site", SITES)
def test_detaching_leaves_no_trace(pipe, site):
    before = fingerprint(pipe.transformer)
    plain = sample(pipe)
    with fc.attach(pipe, EVERY_THIRD, fc.Taylor(), site=site):
        sample(pipe)
    assert fingerprint(pipe.transformer) == before
    assert torch.equal(sample(pipe), plain)


@pytest.mark.parametrize("site", SITES)
@pytest.mark.parametrize("fault", [RuntimeError, KeyboardInterrupt])
@pytest.mark.parametrize("at_call", [1, 3, 6])
def test_a_fault_in_the_middle_leaves_no_trace(pipe, site, fault, at_call):
    before = fingerprint(pipe.transformer)
    plain = sample(pipe)
    calls = 0
    attend = pipe.transformer.transformer_blocks[1].attn1.processor

    def fail(*args, **kwargs):
        nonlocal calls
        calls += 1
        if calls == at_call:
            raise fault("in the middle")
        return attend(*args, **kwargs)

    pipe.transformer.transformer_blocks[1].attn1.processor = fail
    session = fc.attach(pipe, fc.Every(2), fc.Taylor(), site=site)
    with pytest.raises(fault, match="in the middle"):
        sample(pipe)
    attached_modules = [id(module) for module in pipe.transformer.modules()]
    pipe.transformer.transformer_blocks[1].attn1.processor = attend
    again = sample(pipe)
    session.detach()
    assert fingerprint(pipe.transformer)[0] == before[0]
    assert attached_modules == [id(module) for module in pipe.transformer.modules()]
    assert torch.equal(sample(pipe), plain)
    fresh = make_pipeline()
    with fc.attach(fresh, fc.Every(2), fc.Taylor(), site=site):
        assert torch.equal(sample(fresh), again)


def test_an_exception_in_the_with_block_detaches(pipe):
    before = fingerprint(pipe.transformer)
    with pytest.raises(ZeroDivisionError), fc.attach(pipe, EVERY_THIRD, fc.Taylor()):
        raise ZeroDivisionError
    assert fingerprint(pipe.transformer) == before


@pytest.mark.parametrize("site", SITES)
def test_an_interrupt_between_steps_does_not_reach_the_next_run(pipe, site):
    never_stopped = make_pipeline()
    with fc.attach(never_stopped, EVERY_THIRD, fc.Taylor(), site=site):
        fresh = sample(never_stopped, seed=1, classes=(5,))
    with fc.attach(pipe, EVERY_THIRD, fc.Taylor(), site=site):
        for stop_after in (1, 2, 5):
            step, calls = pipe.scheduler.step, 0

            def interrupt(*args, step=step, stop_after=stop_after, **kwargs):
                nonlocal calls
                calls += 1
                if calls == stop_after:
                    raise KeyboardInterrupt
                return step(*args, **kwargs)

            pipe.scheduler.step = interrupt
            with pytest.raises(KeyboardInterrupt):
                sample(pipe, classes=(5,))
            del pipe.scheduler.step
            assert torch.equal(sample(pipe, seed=1, classes=(5,)), fresh)


def other_requests() -> list[dict]:
    return [
        {"seed": 0},
        {"seed": 0},
        {"seed": 7, "classes": (3, 4)},
        {"classes": (1, 2, 3)},
        {"steps": 7},
        {"steps": 1},
        {"steps": 1},
        {"steps": 12, "guidance_scale": 1.0},
        {"classes": (9,), "steps": 20},
    ]


@pytest.mark.parametrize("site", SITES)
def test_run_after_run_equals_a_fresh_process(pipe, site):
    with fc.attach(pipe, EVERY_THIRD, fc.Taylor(), site=site):
        one_after_another = [sample(pipe, **request) for request in other_requests()]
    plain = sample(pipe)
    for request, result in zip(other_requests(), one_after_another):
        fresh = make_pipeline()
        with fc.attach(fresh, EVERY_THIRD, fc.Taylor(), site=site):
            assert torch.equal(sample(fresh, **request), result), request
    assert torch.equal(plain, sample(make_pipeline()))


@pytest.mark.parametrize("site", SITES)
def test_another_resolution_in_the_middle_starts_afresh(site):
    model = make_transformer()
    label = torch.tensor([1])
    small, large = torch.randn(1, 4, 8, 8), torch.randn(1, 4, 12, 12)

    def run(sample: torch.Tensor) -> list[torch.Tensor]:
        times = torch.linspace(900, 100, 6)
        with torch.no_grad():
            return [model(sample, timestep=t[None], class_labels=label).sample for t in times]

    with fc.attach(model, fc.Every(2), fc.Taylor(), site=site):
        first, second, third = run(small), run(large), run(small)
    assert all(map(torch.equal, first, third))
    assert second[-1].shape == large.shape
    with fc.attach(model, fc.Every(2), fc.Taylor(), site=site):
        assert all(map(torch.equal, run(large), second))


@pytest.mark.parametrize("site", SITES)
def test_measured_bytes_are_the_planned_ones(pipe, site):
    predictor = fc.Taylor(order=2)
    features = {
        # batch 2 doubled by guidance, 4x4 tokens of width 16, 3 blocks, 2 modules a block
        "output": 4 * 4 * 8 * 8,
        "hidden": 4 * 16 * 16,
        "block": 4 * 16 * 16 * 3,
        "module": 4 * 16 * 16 * 3 * 2,
    }
    with fc.attach(pipe, EVERY_THIRD, predictor, site=site) as session:
        sample(pipe)
        report = session.report()
    assert report.cache_bytes == predictor.depth * features[site] * 4
    assert report.cache_bytes_planned == report.cache_bytes
    with fc.attach(pipe, EVERY_THIRD, predictor, site=site, dtype=torch.bfloat16) as session:
        sample(pipe)
        report = session.report()
    assert report.cache_bytes == report.cache_bytes_planned == predictor.depth * features[site] * 2


@pytest.mark.parametrize("site", SITES)
def test_nothing_is_held_after_detach(site, monkeypatch):
    pipe = make_pipeline()
    rings = []
    allocate = fc.History._allocate

    def watch(self, feature):
        ring = allocate(self, feature)
        rings.append(weakref.ref(ring))
        return ring

    monkeypatch.setattr(fc.History, "_allocate", watch)
    session = fc.attach(pipe.transformer, EVERY_THIRD, fc.Taylor(), site=site)
    sample(pipe)
    assert any(ring() is not None for ring in rings)
    session.detach()
    assert rings
    assert all(ring() is None for ring in rings)
    model = weakref.ref(pipe.transformer)
    del pipe, session
    gc.collect()
    assert model() is None


def test_a_detached_session_holds_neither_model_nor_pipeline():
    pipe = make_pipeline()
    with fc.attach(pipe, EVERY_THIRD, fc.Taylor(), site="module") as session:
        sample(pipe)
    held = weakref.ref(pipe), weakref.ref(pipe.transformer), weakref.ref(pipe.vae)
    report = session.report()
    del pipe
    gc.collect()
    assert [each() for each in held] == [None, None, None]
    assert session.report().calls == report.calls
    session.detach()


@pytest.mark.parametrize("fails_at", range(12))
def test_an_interrupt_while_the_modules_are_put_back_leaves_no_trace(pipe, fails_at, monkeypatch):
    before, plain = fingerprint(pipe.transformer), sample(pipe)
    session = fc.attach(pipe, EVERY_THIRD, fc.Taylor(), site="module")
    count = 0

    def interrupted(*args):
        nonlocal count
        count += 1
        if count == fails_at + 1:  # six modules are swapped in, and six back
            raise KeyboardInterrupt
        setattr(*args)

    monkeypatch.setattr(taps, "setattr", interrupted, raising=False)
    with pytest.raises(KeyboardInterrupt):
        sample(pipe)
    session.detach()
    assert fingerprint(pipe.transformer) == before
    assert torch.equal(sample(pipe), plain)


def test_a_module_replaced_after_attach_is_the_one_that_runs(pipe):
    with fc.attach(pipe, fc.Every(1), fc.Taylor(), site="module"):
        sample(pipe)
        pipe.transformer.transformer_blocks[1].attn1 = (
            make_transformer(7).transformer_blocks[0].attn1
        )
        attached = sample(pipe)
    assert torch.equal(sample(pipe), attached)


def test_a_block_replaced_after_attach_lends_its_embedding_to_the_forecast(pipe):
    another = make_transformer(7).transformer_blocks[0]
    with fc.attach(pipe, EVERY_THIRD, fc.Taylor(), site="hidden"):
        sample(pipe)
        pipe.transformer.transformer_blocks[0] = another
        replaced = sample(pipe)
    with fc.attach(pipe, EVERY_THIRD, fc.Taylor(), site="hidden"):
        assert torch.equal(sample(pipe), replaced)


def test_a_bare_model_takes_a_run_with_another_condition_for_what_it_is(pipe):
    pipe.scheduler = DDIMScheduler(clip_sample=False, timestep_spacing="trailing")
    with fc.attach(pipe.transformer, EVERY_THIRD, fc.Taylor()):
        sample(pipe, steps=1, classes=(7,))
        after_another = sample(pipe, classes=(1,))
    with fc.attach(pipe.transformer, EVERY_THIRD, fc.Taylor()):
        assert torch.equal(sample(pipe, classes=(1,)), after_another)


def test_the_report_runs_nobodys_hooks(pipe):
    seen = []
    pipe.transformer.transformer_blocks[0].register_forward_hook(lambda *_: seen.append(1))
    with fc.attach(pipe, EVERY_THIRD, fc.Taylor()) as session:
        sample(pipe)
        assert len(seen) == 5
        assert session.report().rehearsals is not None
    assert len(seen) == 5


def test_the_cache_is_gone_before_the_picture_is_decoded(pipe):
    held = []
    decode = pipe.vae.decode

    def watch(*args, **kwargs):
        held.append([len(branch.steps) for branch in session._branches.values()])
        return decode(*args, **kwargs)

    pipe.vae.decode = watch
    with fc.attach(pipe, EVERY_THIRD, fc.Taylor()) as session:
        sample(pipe)
    assert held == [[]]


def test_two_pipelines_do_not_see_each_other():
    one, other = make_pipeline(0), make_pipeline(1)
    before, plain = fingerprint(other.transformer), sample(other)
    with fc.attach(one, EVERY_THIRD, fc.Taylor(), site="module"):
        assert fingerprint(other.transformer) == before
        assert torch.equal(sample(other), plain)
        sample(one)
        assert torch.equal(sample(other), plain)


@pytest.mark.parametrize("site", SITES)
def test_two_threads_with_a_pipeline_each(site):
    def attached_sample(seed: int) -> torch.Tensor:
        pipe = make_pipeline(seed)
        start.wait()
        with fc.attach(pipe, fc.Every(2 + seed), predictor, site=site):
            return torch.stack([sample(pipe, seed=i) for i in range(3)])

    predictor = fc.Taylor()  # one object for both
    start = threading.Barrier(1)
    alone = [attached_sample(seed) for seed in (0, 1)]

    made = [make_pipeline(seed) for seed in (0, 1)]  # seeding torch is global: not in threads
    start = threading.Barrier(2)
    together: dict[int, torch.Tensor] = {}

    def work(seed: int) -> None:
        start.wait()
        with fc.attach(made[seed], fc.Every(2 + seed), predictor, site=site):
            together[seed] = torch.stack([sample(made[seed], seed=i) for i in range(3)])

    threads = [threading.Thread(target=work, args=(seed,)) for seed in (0, 1)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert all(torch.equal(together[seed], alone[seed]) for seed in (0, 1))


def test_attaching_twice_is_refused_and_detaching_twice_is_not(pipe):
    session = fc.attach(pipe, EVERY_THIRD, fc.Taylor())
    for target in (pipe, pipe.transformer):
        with pytest.raises(AttachError, match="attached already.*detach that session first"):
            fc.attach(target, EVERY_THIRD, fc.Taylor())
    session.detach()
    session.detach()
    fc.attach(pipe, EVERY_THIRD, fc.Taylor()).detach()


def test_a_hook_put_over_the_attached_forward_survives_detach(pipe):
    plain = sample(pipe)
    session = fc.attach(pipe, EVERY_THIRD, fc.Taylor())
    inner, calls = pipe.transformer.forward, []

    @functools.wraps(inner)  # as accelerate's offload hooks do
    def hook(*args, **kwargs):
        calls.append(1)
        return inner(*args, **kwargs)

    pipe.transformer.forward = hook
    with pytest.raises(AttachError, match="attached already"):
        fc.attach(pipe, EVERY_THIRD, fc.Taylor())
    session.detach()
    assert torch.equal(sample(pipe), plain)
    assert len(calls) == 12
    with fc.attach(pipe, EVERY_THIRD, fc.Taylor()):
        sample(pipe)
    assert len(calls) == 12 + 5
    assert pipe.transformer.forward is hook
    copy.deepcopy(pipe.transformer)


def test_an_instance_forward_of_somebody_else_is_put_back(pipe):
    theirs = pipe.transformer.forward
    pipe.transformer.forward = theirs
    fc.attach(pipe, EVERY_THIRD, fc.Taylor()).detach()
    assert pipe.transformer.__dict__["forward"] is theirs


def test_an_attached_model_is_neither_copied_nor_pickled(pipe):
    with fc.attach(pipe, EVERY_THIRD, fc.Taylor()):
        with pytest.raises(AttachError, match="detach .* first"):
            copy.deepcopy(pipe.transformer)
        with pytest.raises(AttachError, match="detach .* first"):
            pickle.dumps(pipe.transformer)
    copy.deepcopy(pipe.transformer)


class NoTime(nn.Module):
    def forward(self, x):
        return x


class WithTime(nn.Module):
    def forward(self, x, timestep):
        return x


class Starving(fc.Reuse):
    """Needs more than it keeps."""

    @property
    def minimum(self) -> int:
        return 2


def refusals() -> dict:
    every, taylor = EVERY_THIRD, fc.Taylor()
    return {
        "unknown site": (lambda p: fc.attach(p, every, taylor, site="blocks"), "site='blocks'"),
        "site the adapter lacks": (
            lambda p: fc.attach(WithTime(), every, taylor, site="block"),
            "no site 'block': write one of output",
        ),
        "no timestep": (lambda p: fc.attach(NoTime(), every, taylor), "takes x, and none of"),
        "no model": (lambda p: fc.attach(object(), every, taylor), "no transformer or unet"),
        "swapped": (lambda p: fc.attach(p, taylor, every), "write attach\\(pipe, schedule"),
        "class": (lambda p: fc.attach(p, every, fc.Taylor), "write attach\\(pipe, schedule"),
        "offload": (lambda p: fc.attach(p, every, taylor, offload="disk"), "offload='disk'"),
        "dtype": (
            lambda p: fc.attach(p, every, taylor, dtype=torch.int8),
            "dtype=torch.int8.*torch.bfloat16",
        ),
        "not_finite": (lambda p: fc.attach(p, every, taylor, not_finite="x"), "'recompute'"),
    }


@pytest.mark.parametrize("case", refusals())
def test_what_cannot_be_attached_is_refused_untouched(pipe, case):
    call, message = refusals()[case]
    before = fingerprint(pipe.transformer), fingerprint(pipe.vae)
    with pytest.raises(AttachError, match=message) as error:
        call(pipe)
    assert "\n" not in str(error.value)
    assert (fingerprint(pipe.transformer), fingerprint(pipe.vae)) == before


def test_a_schedule_past_the_end_is_refused_before_the_model_runs(pipe):
    ran = []
    pipe.transformer.pos_embed.register_forward_hook(lambda *_: ran.append(1))
    with (
        fc.attach(pipe, fc.Listed([0, 3, 60]), fc.Taylor()),
        pytest.raises(ScheduleError, match="step 60, but the trajectory has 12"),
    ):
        sample(pipe)
    assert not ran


def test_a_scheduler_that_calls_twice_a_step_is_refused_by_name(pipe):
    plain = pipe.scheduler
    pipe.scheduler = HeunDiscreteScheduler()
    with pytest.raises(AttachError, match="HeunDiscreteScheduler calls the model 2 times"):
        fc.attach(pipe, EVERY_THIRD, fc.Taylor())
    pipe.scheduler = plain
    with fc.attach(pipe, EVERY_THIRD, fc.Taylor()):
        pipe.scheduler = HeunDiscreteScheduler()
        with pytest.raises(AttachError, match="HeunDiscreteScheduler calls the model 2 times"):
            sample(pipe)


def test_a_scheduler_that_repeats_a_time_is_followed(pipe):
    pipe.scheduler = PNDMScheduler(skip_prk_steps=True)
    with fc.attach(pipe, EVERY_THIRD, fc.Taylor()) as session:
        sample(pipe, steps=11)
    assert len(pipe.scheduler.timesteps) == 12
    assert session.report().computed == (0, 1, 4, 7, 10)
    assert {call.branch for call in session.report().calls} == {0}


def test_a_scheduler_swapped_after_attach_is_followed(pipe):
    with fc.attach(pipe, EVERY_THIRD, fc.Taylor()) as session:
        pipe.scheduler = DDIMScheduler(clip_sample=False, timestep_spacing="trailing")
        sample(pipe, steps=8)
        assert session.report().computed == (0, 1, 4, 7)
        assert session.report().calls[0].step[:3] == (0, 999.0, 8)


class Exploding(fc.LinearPredictor):
    @property
    def depth(self) -> int:
        return 1

    def weights(self, computed, target):
        return [1e39]


def test_a_forecast_that_is_not_finite_raises_or_recomputes(pipe):
    plain = sample(pipe)
    with (
        fc.attach(pipe, fc.Listed([0]), Exploding()),
        pytest.raises(NotFiniteError, match="step 1 is not finite: Exploding.*recompute"),
    ):
        sample(pipe)
    with fc.attach(pipe, fc.Listed([0]), Exploding(), not_finite="recompute") as session:
        assert torch.equal(sample(pipe), plain)
    assert session.report().computed == tuple(range(12))


def test_a_model_that_computes_nan_is_named_as_the_cause():
    model = make_transformer()
    model.proj_out_2.weight.data.fill_(torch.nan)
    latents, label = torch.randn(1, 4, 8, 8), torch.tensor([1])
    with fc.attach(model, fc.Listed([0]), fc.Reuse()), torch.no_grad():
        model(latents, timestep=torch.tensor([900]), class_labels=label)
        with pytest.raises(NotFiniteError, match="the model itself computed NaN"):
            model(latents, timestep=torch.tensor([800]), class_labels=label)


class Hungry(fc.Reuse):
    """Needs three features before its first forecast."""

    @property
    def depth(self) -> int:
        return 3

    @property
    def minimum(self) -> int:
        return 3


def test_the_session_computes_while_a_history_is_too_short(pipe):
    with fc.attach(pipe, fc.Listed([0, 8]), Hungry()) as session:
        sample(pipe)
    assert session.report().computed == (0, 1, 2, 8)


class WhenMoved(fc.Schedule):
    """Computes when the model's input has moved far enough since the last computed step."""

    threshold: float

    def compute(self, step, state):
        anchor = state.memory.get("anchor")
        moved = anchor is None or (state.sample - anchor).norm() > self.threshold * anchor.norm()
        if moved:
            state.memory["anchor"] = state.sample.clone()
        return bool(moved)


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


def test_the_report_reads_well(pipe):
    with fc.attach(pipe, EVERY_THIRD, fc.Taylor(), site="block") as session:
        assert "no step taken yet" in str(session.report())
        sample(pipe)
        report = session.report()
    assert (report.steps, report.ceiling) == (12, 12 / 5)
    (step,) = report.rehearsals
    assert step is not None
    assert report.flops == 5 * step.flops_computed + 7 * step.flops_forecast
    assert 0 < step.flops_forecast < 0.1 * step.flops_computed
    lines = str(report).splitlines()
    assert lines[1] == "12 steps, 5 computed: 0 1 4 7 10"
    assert f"cache bytes {report.cache_bytes:,}, planned" in lines[-1]


@pytest.mark.parametrize("hooked_first", [True, False])
@pytest.mark.parametrize("site", SITES)
def test_accelerates_hooks_before_or_after(pipe, site, hooked_first):
    plain = sample(pipe)
    with fc.attach(pipe, EVERY_THIRD, fc.Taylor(), site=site):
        forecast = sample(pipe)
    if hooked_first:
        add_hook_to_module(pipe.transformer, AlignDevicesHook(io_same_device=True))
    session = fc.attach(pipe, EVERY_THIRD, fc.Taylor(), site=site)
    if not hooked_first:
        add_hook_to_module(pipe.transformer, AlignDevicesHook(io_same_device=True))
    assert torch.equal(sample(pipe), forecast)
    assert session.report().cache_bytes == session.report().cache_bytes_planned
    session.detach()
    assert torch.equal(sample(pipe), plain)
    remove_hook_from_module(pipe.transformer)
    assert torch.equal(sample(pipe), plain)


class Lazy(fc.Predictor):
    """Returns what is stored as it is stored."""

    @property
    def depth(self) -> int:
        return 1

    def forecast(self, history, target):
        return history.features[-1].clone()


def test_forecasts_come_in_the_features_dtype_whatever_the_storage():
    model, x = Explosive(), torch.ones(3)
    with fc.attach(model, fc.Listed([0]), Lazy(), dtype=torch.bfloat16):
        outputs = [model(x, torch.tensor(time)) for time in (3.0, 2.0, 1.0)]
    assert {output.dtype for output in outputs} == {torch.float32}


class Explosive(torch.nn.Module):
    """Computes NaN at times below 2.5."""

    def forward(self, x, timestep):
        return x * (timestep if timestep > 2.5 else torch.nan)


@pytest.mark.parametrize("predictor", [fc.Exponential(), fc.Exponential(2), fc.Taylor(2)], ids=str)
def test_what_the_model_computes_as_nan_is_named(predictor):
    model, x = Explosive(), torch.ones(3)
    with fc.attach(model, fc.Listed([0, 1, 2, 3]), predictor):
        for time in (5.0, 4.0, 3.0, 2.0):
            model(x, torch.tensor(time))
        with pytest.raises(fc.errors.NotFiniteError, match="the model itself computed NaN"):
            model(x, torch.tensor(1.0))
    with fc.attach(model, fc.Listed([0, 1, 2, 3]), predictor, not_finite="recompute") as session:
        for time in (5.0, 4.0, 3.0, 2.0, 1.0):
            model(x, torch.tensor(time))
    assert session.report().computed == (0, 1, 2, 3, 4)


class Reading(torch.nn.Module):
    """Reads data on its way."""

    def forward(self, x, timestep):
        return x * timestep.item()


def test_a_budget_for_a_model_that_reads_data_is_refused_in_words():
    model = Reading()
    with (
        fc.attach(model, fc.Every(2), fc.Reuse(), budget="1 GiB"),
        pytest.raises(fc.errors.BudgetError, match="cannot be planned.*leave out budget="),
    ):
        model(torch.ones(2), torch.tensor(1.0))
