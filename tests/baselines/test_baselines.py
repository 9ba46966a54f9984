"""Baselines: they run as their makers mean them to, and nothing of them stays."""

from __future__ import annotations

import importlib.util

import pytest
import torch
from diffusers import TaylorSeerCacheConfig

from forecastcache.baselines.baseline import BASELINES, baseline_method
from forecastcache.errors import ForecastCacheError, OptionError
from forecastcache.evaluation.flops import counted
from forecastcache.metrics.psnr import psnr
from forecastcache.sampling.loading import load
from forecastcache.sampling.request import Request

from ..built_ins import shipped

STEPS = 10
FLUX, DIT, QWEN = "zoo:flux-digits", "zoo:dit-digits", "zoo:qwen-digits"
needs_cache_dit = pytest.mark.skipif(
    importlib.util.find_spec("cache_dit") is None, reason="cache-dit is not installed"
)
SPECS = [
    "steps:count=5", "steps:count=5,solver=unipc", "steps:count=5,solver=dpm++",
    "taylorseer:interval=3", "taylorseer-lite:interval=3,order=2,last=8",
    "first-block:threshold=0.2", "magcache:threshold=0.3", "fastercache:skip=4",
    *(
        pytest.param(spec, marks=needs_cache_dit)
        for spec in (
            "cache-dit:interval=3", "cache-dit:interval=3,order=2",
            "cache-dit:interval=3,calibrator=foca", "cache-dit:computed=0-1-2-3-6",
        )
    ),
]  # fmt: skip


def test_every_baseline_that_ships_is_tried_here():
    tried = {getattr(it, "values", (it,))[0].partition(":")[0] for it in SPECS}
    assert tried == {*shipped(BASELINES)}


class Case:
    """A pipeline, what it is asked for and what it then makes and costs."""

    def __init__(self, model: str) -> None:
        self.pipe = load(model)
        self.pipe.set_progress_bar_config(disable=True)
        self.request = Request.of(model, steps=STEPS, count=1)
        self.plain, self.flops = self.sample()

    def sample(self, **changes) -> tuple[torch.Tensor, int]:
        """Samples, and the operations that they took."""
        made = []
        spent = counted(self.pipe, lambda: made.append(self.request.sample(self.pipe, **changes)))
        return made[0], spent.total

    def look(self) -> list[object]:
        """All that a baseline could leave its mark on."""
        modules = self.pipe.transformer.modules()
        marks = [
            (type(each), list(vars(each)), list(each._modules), len(each._forward_pre_hooks))
            for each in modules
        ]
        return [marks, type(self.pipe).__call__, list(vars(self.pipe)), self.pipe.scheduler]

    def calls_of_last_block(self, method, request) -> int:
        model, calls = self.pipe.transformer, []
        blocks = getattr(model, "single_transformer_blocks", model.transformer_blocks)
        inner = next(iter(blocks[-1].children()))
        with method.apply(self.pipe, request):
            hook = inner.register_forward_hook(lambda *_: calls.append(None))
            request.sample(self.pipe)
            hook.remove()
        return len(calls)


@pytest.fixture(scope="module")
def flux():
    return Case(FLUX)


@pytest.fixture(scope="module")
def dit():
    return Case(DIT)


@pytest.fixture(scope="module")
def qwen():
    return Case(QWEN)


@pytest.mark.parametrize("spec", SPECS)
def test_it_spares_work_repeats_itself_and_leaves_nothing(flux, spec, capfd):
    before = flux.look()
    method = baseline_method(spec, STEPS)
    with method.apply(flux.pipe, flux.request) as applied:
        once, flops = flux.sample(**applied.changes)
        again = flux.request.sample(flux.pipe, **applied.changes)
    assert torch.equal(once, again)
    assert 25 < psnr(once, flux.plain) < 60  # dB: near the plain run, and not it
    assert flops < 0.95 * flux.flops
    assert torch.equal(flux.request.sample(flux.pipe), flux.plain)
    assert flux.look() == before
    assert method.name == spec
    assert capfd.readouterr().out == ""


class Stopped(BaseException):
    pass


@pytest.mark.parametrize("spec", SPECS)
def test_an_aborted_run_leaves_nothing(flux, spec):
    before = flux.look()
    method = baseline_method(spec, STEPS)

    def stop(pipe, step, time, tensors):
        if step == 3:
            raise Stopped
        return tensors

    with pytest.raises(Stopped), method.apply(flux.pipe, flux.request) as applied:
        flux.request.sample(flux.pipe, callback_on_step_end=stop, **applied.changes)
    assert flux.look() == before
    assert torch.equal(flux.request.sample(flux.pipe), flux.plain)


@pytest.mark.parametrize(
    "spec",
    [
        "taylorseer:interval=3", "taylorseer-lite:interval=3", "first-block:threshold=0.1",
        "magcache:threshold=0.1,skip=2", "fastercache",
        pytest.param("cache-dit:interval=3", marks=needs_cache_dit),
    ],
)  # fmt: skip
def test_it_runs_on_a_model_that_diffusers_lends_no_caches(dit, spec):
    before = dit.look()
    method = baseline_method(spec, STEPS)
    with method.apply(dit.pipe, dit.request):
        once, flops = dit.sample()
        again = dit.request.sample(dit.pipe)
    assert torch.equal(once, again)
    assert 15 < psnr(once, dit.plain) < 60
    assert flops < 0.95 * dit.flops
    assert dit.look() == before
    assert torch.equal(dit.request.sample(dit.pipe), dit.plain)


@pytest.mark.parametrize(
    "spec",
    [
        "steps:count=5,solver=dpm++", "taylorseer-lite:interval=3", "first-block:threshold=0.2",
        "magcache:threshold=0.3",
    ],
)  # fmt: skip
def test_it_tells_the_two_calls_of_guidance_apart(qwen, spec):
    method = baseline_method(spec, STEPS)
    with method.apply(qwen.pipe, qwen.request) as applied:
        samples = qwen.request.sample(qwen.pipe, **applied.changes)
    assert 25 < psnr(samples, qwen.plain) < 60


def test_what_would_mix_them_is_refused(qwen):
    with (
        pytest.raises(OptionError, match="^fastercache: .* one cache for both calls of a step"),
        baseline_method("fastercache", STEPS).apply(qwen.pipe, qwen.request),
    ):
        pass


@pytest.mark.parametrize(("lite", "spec"), [(False, "taylorseer"), (True, "taylorseer-lite")])
def test_the_patterns_are_those_of_diffusers_where_it_has_any(flux, lite, spec):
    with baseline_method(spec, STEPS).apply(flux.pipe, flux.request):
        ours = flux.request.sample(flux.pipe)
    model = flux.pipe.transformer
    model.enable_cache(
        TaylorSeerCacheConfig(use_lite_mode=lite, taylor_factors_dtype=torch.float32)
    )
    theirs = flux.request.sample(flux.pipe)
    model.disable_cache()
    assert torch.equal(ours, theirs)


def test_what_matches_nothing_does_not_pass_for_a_baseline(flux, monkeypatch):
    monkeypatch.setattr("forecastcache.baselines.diffusers_caches.TaylorSeer.forecast", "attic")
    with (
        pytest.raises(OptionError, match="does nothing: no part of Flux.* is called attic"),
        baseline_method("taylorseer", STEPS).apply(flux.pipe, flux.request),
    ):
        pass
    monkeypatch.setattr("diffusers.hooks.apply_faster_cache", lambda model, config: None)
    with (
        pytest.raises(OptionError, match="fastercache: it does nothing: diffusers finds no part"),
        baseline_method("fastercache", STEPS).apply(flux.pipe, flux.request),
    ):
        pass


def test_the_ratios_of_magcache_are_measured_once(flux, monkeypatch):
    asked = []
    run = Request.run

    def noted(request, pipe):
        asked.append(request)
        run(request, pipe)

    monkeypatch.setattr(Request, "run", noted)
    of = Request.of(FLUX, steps=STEPS, count=2, seed=50)
    for spec in ("magcache", "magcache:skip=5"):  # settings of one model share them
        with baseline_method(spec, STEPS).apply(flux.pipe, of):
            pass
    (measured,) = asked
    assert measured.prompts == tuple(of.prompts[:1])
    assert measured.seeds == (52,)  # those asked for are 50 and 51
    with baseline_method("magcache", 6).apply(flux.pipe, Request.of(FLUX, steps=6, count=2)):
        pass
    assert [request.steps for request in asked] == [STEPS, 6]


@needs_cache_dit
@pytest.mark.parametrize(
    ("options", "computed"),
    [
        ("interval=3", (0, 1, 2, 3, 6, 9)),
        ("first=5", (0, 1, 2, 3, 4)),
        ("computed=0-1-2-3-8", (0, 1, 2, 3, 8)),
    ],
)
@pytest.mark.parametrize(("model", "calls"), [("flux", 1), ("qwen", 2), ("dit", 1)])
def test_cache_dit_computes_the_steps_that_are_given(request, model, calls, options, computed):
    case = request.getfixturevalue(model)
    method = baseline_method(f"cache-dit:{options}", STEPS)
    assert method.baseline.steps(STEPS) == computed
    assert case.calls_of_last_block(method, case.request) == calls * len(computed)


@needs_cache_dit
def test_cache_dit_follows_guidance_that_is_turned_off(qwen):
    """Its own default counts on two calls a step of Qwen-Image, whether there are two or one."""
    unguided = Request.of(QWEN, steps=STEPS, count=2, guidance_scale=1.0)
    method = baseline_method("cache-dit:interval=3", STEPS)
    assert qwen.calls_of_last_block(method, unguided) == len(method.baseline.steps(STEPS))


def test_it_is_read_from_text():
    assert {baseline_method(name, 50).name for name in BASELINES.names()} == {*BASELINES.names()}
    options = baseline_method("taylorseer:interval=4,order=2,first=5,last=45", 50).baseline
    assert (options.interval, options.order, options.first, options.last) == (4, 2, 5, 45)
    options = baseline_method("magcache:threshold=0.1,skip=5,retention=0.3", 50).baseline
    assert (options.threshold, options.skip, options.retention) == (0.1, 5, 0.3)
    cache_dit = baseline_method("cache-dit:computed=0-1-2-3-10-20", 50).baseline
    assert cache_dit.steps(50) == (0, 1, 2, 3, 10, 20)


@pytest.mark.parametrize(
    ("spec", "line"),
    [
        ("steps:count=9", "steps"),
        ("steps:count=9,solver=unipc", "steps, solver=unipc"),
        ("taylorseer:interval=5,order=2", "taylorseer, order=2"),
        ("cache-dit:computed=0-1-2-3-9,calibrator=foca", "cache-dit, calibrator=foca"),
        ("taylorseer", "taylorseer"),
        ("taylorseer:interval=5", "taylorseer"),
        ("taylorseer: interval=5", "taylorseer"),
        ("taylorseer:5", "taylorseer"),
        ("taylorseer:5,2", "taylorseer, order=2"),
        ("steps:12,unipc", "steps, solver=unipc"),
    ],
)
def test_what_differs_in_speed_alone_is_one_line(spec, line):
    assert baseline_method(spec, 50).line == line


@pytest.mark.parametrize(
    ("spec", "complaint"),
    [
        ("magic", "no baseline is called 'magic': write one of cache-dit, fastercache"),
        ("steps:speed=2", "steps has no option 'speed'; it takes count: integer of"),
        ("steps:count", "FewerSteps: count='count', but .* a valid integer"),
        ("steps:count=3,count=4", "count is set twice, to 3 and to 4: keep one"),
        (
            "steps:count=x",
            "FewerSteps: count='x', but .* a valid integer.*; it takes count: integer",
        ),
        (
            "steps:solver=magic",
            "FewerSteps: solver='magic', but .*; it takes .* one of dpm.*, unipc",
        ),
        ("taylorseer:interval=1", "TaylorSeer: interval='1', but .* to 2; it takes interval"),
        ("taylorseer:first=50", "taylorseer:first=50: first=50 leaves no step .* before step 50"),
        (
            "taylorseer:first=9,last=9",
            "taylorseer:first=9,last=9: first=9 leaves no step .* before step 9",
        ),
        ("first-block:threshold=0", "FirstBlock: threshold='0', but .* number above 0"),
        ("magcache:retention=1", "MagCache: retention='1', but .* number of at least 0 below 1"),
        ("fastercache:skip=1", "FasterCache: skip='1', but .* integer of at least 2"),
        (
            "cache-dit:first=3",
            "cache-dit:first=3: .*from step 3 on.* compute the first 4 steps at least",
        ),
        (
            "cache-dit:computed=0-1-2-9",
            "cache-dit:computed=0-1-2-9: .* compute the first 4 steps at least",
        ),
        (
            "cache-dit:computed=0-1-2-3-50",
            "cache-dit:.*: .* 0-1-2-3-50, .* rising ones from 0 to 49",
        ),
        ("cache-dit:computed=0-1-2-3-9-8", "cache-dit:.*: .* rising ones"),
        ("cache-dit:first=50", "cache-dit:first=50: all 50 steps are computed"),
        ("cache-dit:computed=a", "CacheDiT: computed.0='a', but .* steps such as 0-1-2-3-10-20"),
        ("cache-dit:computed=0-1-2-3-9,first=4", "CacheDiT: .* leave out interval and first"),
        ("cache-dit:calibrator=foca,order=2", "CacheDiT: calibrator=foca has no order"),
    ],
)  # fmt: skip
def test_what_cannot_be_gets_one_line(spec, complaint):
    with pytest.raises(ForecastCacheError, match=f"^{complaint}") as caught:
        baseline_method(spec, 50)
    assert "\n" not in str(caught.value)


def test_what_is_not_installed_names_its_extra(monkeypatch):
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    with pytest.raises(OptionError, match=r"pip install 'forecastcache\[peers\]'"):
        baseline_method("cache-dit", STEPS)
