"""What attaching refuses, and what it leaves behind: nothing."""

from __future__ import annotations

import copy
import functools
import gc
import pickle
import weakref

import pytest
import torch
from accelerate.hooks import AlignDevicesHook, add_hook_to_module, remove_hook_from_module
from diffusers import HeunDiscreteScheduler
from torch import nn

import forecastcache as fc
from forecastcache.errors import AttachError

from ..conftest import SITES, fingerprint, make_pipeline, sample

EVERY_THIRD = fc.Every(3, first=2)


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
    latents, label = torch.zeros(1, 4, 8, 8), torch.tensor([1])
    for time in (900, 800, 700):  # in a loop that nobody knows the end of
        pipe.transformer(latents, timestep=torch.tensor([time]), class_labels=label)
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


def test_two_pipelines_do_not_see_each_other():
    one, other = make_pipeline(0), make_pipeline(1)
    before, plain = fingerprint(other.transformer), sample(other)
    with fc.attach(one, EVERY_THIRD, fc.Taylor(), site="module"):
        assert fingerprint(other.transformer) == before
        assert torch.equal(sample(other), plain)
        sample(one)
        assert torch.equal(sample(other), plain)


def test_attaching_twice_is_refused_and_detaching_twice_is_not(pipe):
    session = fc.attach(pipe, EVERY_THIRD, fc.Taylor())
    for target in (pipe, pipe.transformer):
        with pytest.raises(AttachError, match="attached already.*detach that session first"):
            fc.attach(target, EVERY_THIRD, fc.Taylor())
    session.detach()
    session.detach()
    fc.attach(pipe, EVERY_THIRD, fc.Taylor()).detach()


def test_a_session_whose_handle_is_lost_can_be_ended():
    pipe = make_pipeline()
    plain, before = sample(pipe), fingerprint(pipe.transformer)
    for target in (pipe, pipe.transformer):
        fc.attach(pipe, EVERY_THIRD, fc.Taylor())
        with pytest.raises(AttachError, match=r"call forecastcache.detach\(pipe\)"):
            fc.attach(pipe, EVERY_THIRD, fc.Taylor())
        fc.detach(target)
        assert fingerprint(pipe.transformer) == before
    fc.detach(pipe)  # nothing to end
    assert torch.equal(sample(pipe), plain)
    with pytest.raises(AttachError, match="no transformer or unet"):
        fc.detach(object())


def test_ending_by_target_or_by_handle_is_the_same(pipe):
    session = fc.attach(pipe, EVERY_THIRD, fc.Taylor())
    fc.detach(pipe)
    assert not session.attached
    session.detach()
    with fc.attach(pipe, EVERY_THIRD, fc.Taylor()) as session:
        fc.detach(pipe)
        sample(pipe)
    assert session.report().calls == ()


def test_specs_do_for_objects(pipe):
    with fc.attach(pipe, "every:3,first=2", "taylor:2", site="block") as by_text:
        picture = sample(pipe)
    with fc.attach(pipe, fc.Every(3, first=2), fc.Taylor(2), site="block") as by_object:
        assert torch.equal(sample(pipe), picture)
    assert by_text.report().schedule == by_object.report().schedule == str(fc.Every(3, 2))
    assert by_text.predictor == fc.Taylor(2)


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
        "spec of no schedule": (
            lambda p: fc.attach(p, "often", "reuse"),
            "'often' is no schedule",
        ),
        "spec of no predictor": (lambda p: fc.attach(p, "every:3", "tailor"), "'tailor': write"),
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
    with pytest.raises(fc.ForecastCacheError, match=message) as error:
        call(pipe)
    assert "\n" not in str(error.value)
    assert (fingerprint(pipe.transformer), fingerprint(pipe.vae)) == before


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
