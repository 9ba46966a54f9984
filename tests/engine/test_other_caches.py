"""diffusers' own caches, on at the same time as a session."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import diffusers
import pytest
import torch

import forecastcache as fc
from forecastcache.errors import AttachError

from ..adapters.tiny import Tiny, make
from ..conftest import SITES, fingerprint

TIMES = torch.linspace(1, 0.3, 12)
SCHEDULE, TAYLOR = fc.Every(3, first=4), fc.Taylor(order=1)
COMPUTED = (0, 1, 2, 3, 6, 9)


def time_of(tiny: Tiny) -> Callable[[], int]:
    """The time, in thousandths, of the model's newest call, as pipelines tell it."""
    seen = [0]
    tiny.model.register_forward_pre_hook(
        lambda _, args, kwargs: seen.__setitem__(0, int(kwargs["timestep"][0] * 1000)),
        with_kwargs=True,
    )
    return lambda: seen[0]


def attention(tiny: Tiny) -> dict[str, Any]:
    return {
        "spatial_attention_block_skip_range": 2,
        "current_timestep_callback": time_of(tiny),
    }


CACHES: dict[str, Callable[[Tiny], Any]] = {
    "FirstBlockCache": lambda tiny: diffusers.FirstBlockCacheConfig(threshold=0.2),
    "FasterCache": lambda tiny: diffusers.FasterCacheConfig(
        **attention(tiny), attention_weight_callback=lambda _: 0.5, tensor_format="BCHW",
        is_guidance_distilled=True,
    ),
    "TaylorSeer": lambda tiny: diffusers.TaylorSeerCacheConfig(
        cache_interval=3, max_order=1, disable_cache_before_step=2,
        taylor_factors_dtype=torch.float32,
    ),
    "TaylorSeer, lite": lambda tiny: diffusers.TaylorSeerCacheConfig(
        cache_interval=3, max_order=1, disable_cache_before_step=2, use_lite_mode=True,
        taylor_factors_dtype=torch.float32,
    ),
    "PyramidAttentionBroadcast": lambda tiny: diffusers.PyramidAttentionBroadcastConfig(
        **attention(tiny), spatial_attention_timestep_skip_range=(100, 900),
    ),
    "MagCache": lambda tiny: diffusers.MagCacheConfig(
        num_inference_steps=len(TIMES), mag_ratios=torch.full((len(TIMES),), 0.99), threshold=0.2
    ),
}  # fmt: skip


FAST = ("FirstBlockCache", "FasterCache", "TaylorSeer")
NAMES = [it if it in FAST else pytest.param(it, marks=pytest.mark.slow) for it in CACHES]


@pytest.fixture(params=NAMES)
def cached(request) -> Iterator[Tiny]:
    """A model with a cache of diffusers on it."""
    tiny = make("flux")
    tiny.model.enable_cache(CACHES[request.param](tiny))
    yield tiny
    tiny.model.disable_cache()


def run(tiny: Tiny, steps: tuple[int, ...] = tuple(range(len(TIMES)))) -> list[torch.Tensor]:
    """The outputs of these steps; the sample moves with time."""
    outputs = []
    for time in TIMES[list(steps)]:
        given = dict(tiny.arguments)
        given["hidden_states"] = given["hidden_states"] * (1 + time)
        with torch.no_grad(), tiny.model.cache_context("cond"):
            outputs.append(tiny.model(**given, timestep=time.expand(2), return_dict=False)[0])
    tiny.model._reset_stateful_cache()  # as pipelines do at the end
    return outputs


def by_hand(known: dict[int, torch.Tensor], step: int) -> torch.Tensor:
    """The line through the newest two computed outputs."""
    a, b = [it for it in known if it < step][-2:]
    slope = (known[b].double() - known[a].double()) / (b - a)
    return known[b].double() + slope * (step - b)


def test_at_the_output_computed_steps_are_the_caches_and_the_rest_is_forecast_from_them(cached):
    bare = run(make("flux"))
    both = run(cached)
    assert not all(map(torch.equal, both, bare))  # the cache does something
    before = fingerprint(cached.model)
    with fc.attach(cached.model, fc.Every(1), TAYLOR):
        assert all(map(torch.equal, run(cached), both))
    known = dict(zip(COMPUTED, run(cached, COMPUTED)))
    with fc.attach(cached.model, SCHEDULE, TAYLOR) as session:
        forecast = run(cached)
    report = session.report()
    assert report.computed == COMPUTED
    assert report.cache_bytes == report.cache_bytes_planned > 0, report.unplanned
    for step, output in enumerate(forecast):
        if step in known:
            assert torch.equal(output, known[step])
        else:  # sums in float32 of outputs of order 1
            expected = by_hand(known, step)
            torch.testing.assert_close(output.double(), expected, rtol=0, atol=1e-5)
    assert fingerprint(cached.model) == before
    assert all(map(torch.equal, run(cached), both))


@pytest.mark.parametrize("name", NAMES)
def test_a_cache_enabled_and_disabled_under_a_session(name):
    before = make("flux")
    before.model.enable_cache(CACHES[name](before))
    with fc.attach(before.model, SCHEDULE, TAYLOR):
        expected = run(before)
    tiny = make("flux")
    with fc.attach(tiny.model, SCHEDULE, TAYLOR):
        without = run(tiny)
        tiny.model.enable_cache(CACHES[name](tiny))
        assert all(map(torch.equal, run(tiny), expected))
        tiny.model.disable_cache()
        assert all(map(torch.equal, run(tiny), without))
    assert not all(map(torch.equal, expected, without))
    assert all(map(torch.equal, run(tiny), run(make("flux"))))


INSIDE = r"a cache of diffusers is on in FluxTransformer2DModel \(\w+Config\).*disable_cache\(\)"


@pytest.mark.parametrize("site", [it for it in SITES if it != "output"])
def test_inside_the_model_a_cache_is_refused_by_name(cached, site):
    before = fingerprint(cached.model)
    with pytest.raises(AttachError, match=INSIDE):
        fc.attach(cached.model, SCHEDULE, TAYLOR, site=site)
    assert fingerprint(cached.model) == before


@pytest.mark.parametrize("site", [it for it in SITES if it != "output"])
def test_one_that_is_enabled_under_a_session_is_refused_at_the_next_call(site):
    tiny = make("flux")
    with fc.attach(tiny.model, SCHEDULE, TAYLOR, site=site):
        expected = run(tiny)
        tiny.model.enable_cache(CACHES["FirstBlockCache"](tiny))
        with pytest.raises(AttachError, match=INSIDE):
            run(tiny)
        tiny.model.disable_cache()
        assert all(map(torch.equal, run(tiny), expected))


class Looks(fc.Schedule):
    """Looks inside at every step."""

    @property
    def needs(self):
        return frozenset({"first_block"})

    def compute(self, step, state):
        return bool(state.first_block_residual().isfinite().all())


def test_a_schedule_that_looks_inside_is_refused_beside_a_cache():
    tiny = make("flux")
    tiny.model.enable_cache(CACHES["FirstBlockCache"](tiny))
    with pytest.raises(AttachError, match=INSIDE):
        fc.attach(tiny.model, Looks(), TAYLOR)


def test_a_cache_that_changes_no_number_is_served_inside():
    tiny = make("flux")
    tiny.model._cache_config = diffusers.TextKVCacheConfig()  # which only NucleusMoE has
    with fc.attach(tiny.model, SCHEDULE, TAYLOR, site="block"):
        run(tiny)
