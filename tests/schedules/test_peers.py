"""Where diffusers has the method, the same steps are computed on the same trajectory."""

from __future__ import annotations

import diffusers
import pytest
import torch
from diffusers import FirstBlockCacheConfig, MagCacheConfig, SeaCacheConfig
from torch import nn

import forecastcache as fc
from forecastcache.testing.fake_pipeline import FakePipeline

from ..adapters.tiny import make

STEPS = 30
SIGMAS = [1 - 0.97 * i / (STEPS - 1) for i in range(STEPS)]


def trajectory(kind: str, scale: float = 1.0) -> tuple[nn.Module, list[dict[str, torch.Tensor]]]:
    """A tiny model and what each step gives it: noise that turns into a smooth picture."""
    tiny = make(kind)
    given = {name: value[:1] if value.ndim and len(value) == 2 else value
             for name, value in tiny.arguments.items()}  # fmt: skip
    start = given["hidden_states"]
    generator = torch.Generator().manual_seed(1)
    end = torch.randn(start.shape, generator=generator).cumsum(-1) / 3
    calls = []
    for sigma in SIGMAS:
        sample = sigma * start + (1 - sigma) * end
        calls.append({**given, "hidden_states": sample, "timestep": torch.tensor([sigma * scale])})
    return tiny.model, calls


def steps_of_diffusers(
    model: nn.Module, calls: list, config: object, last: nn.Module
) -> list[int]:
    """The steps at which a cache of diffusers ran the last block."""
    ran: list[int] = []
    now = 0
    handle = last.register_forward_hook(lambda *_: ran.append(now))
    model.enable_cache(config)
    for now, given in enumerate(calls):
        context = {"step_index": now, "sigma": SIGMAS[now], "num_inference_steps": STEPS}
        further = context if isinstance(config, SeaCacheConfig) else {}
        with torch.no_grad(), model.cache_context("cond", **further):
            model(**given)
    model.disable_cache()
    handle.remove()
    return ran


def steps_of_ours(model: nn.Module, calls: list, schedule: fc.Schedule) -> list[int]:
    pipe = FakePipeline([float(given["timestep"]) for given in calls], model)
    with fc.attach(pipe, schedule, fc.Reuse()) as session:
        for given in calls:
            with torch.no_grad():
                model(**given)
    return computed_in(session)


def computed_in(session: fc.Session) -> list[int]:
    """The computed steps of the newest run of one branch."""
    return [call.step.index for call in session.calls if call.was_computed]


def require_the_same(ours: list[int], theirs: list[int]) -> None:
    assert ours == theirs
    assert 1 < len(ours) < STEPS


@pytest.mark.parametrize("threshold", [0.1, 0.2, 0.4])
def test_firstblock_computes_the_steps_of_first_block_cache(threshold):
    model, calls = trajectory("flux")
    inner = model.single_transformer_blocks[-1].attn
    theirs = steps_of_diffusers(model, calls, FirstBlockCacheConfig(threshold=threshold), inner)
    require_the_same(steps_of_ours(model, calls, fc.FirstBlockCache(threshold)), theirs)


@pytest.mark.parametrize("measured", [STEPS, 17])
@pytest.mark.parametrize(("threshold", "k", "retention"), [(0.1, 3, 0.2), (0.4, 8, 0.1)])
def test_magcache_computes_the_steps_of_mag_cache(threshold, k, retention, measured):
    model, calls = trajectory("flux")
    inner = model.single_transformer_blocks[-1].attn
    noise = torch.rand(measured, generator=torch.Generator().manual_seed(0)).tolist()
    ratios = [1.0, *(0.95 + 0.1 * each for each in noise[1:])]
    config = MagCacheConfig(
        threshold=threshold, max_skip_steps=k, retention_ratio=retention,
        num_inference_steps=STEPS, mag_ratios=ratios,
    )  # fmt: skip
    theirs = steps_of_diffusers(model, calls, config, inner)
    ours = fc.MagnitudeAware(threshold, in_a_row=k, retention=retention, ratios=ratios)
    require_the_same(steps_of_ours(model, calls, ours), theirs)


@pytest.mark.parametrize(("threshold", "most"), [(0.1, 0), (0.15, 2), (0.3, 0)])
def test_seacache_computes_the_steps_of_sea_cache(threshold, most):
    """diffusers filters the sample, of Wan and Cosmos 3 alone."""
    model, calls = trajectory("wan", scale=1000)
    inner = model.blocks[-1].attn1
    config = SeaCacheConfig(threshold=threshold, max_consecutive_cached=most, power_exp=3.0)
    theirs = steps_of_diffusers(model, calls, config, inner)
    ours = fc.SeaCache(threshold, in_a_row=most or None, power=3, of="sample")
    require_the_same(steps_of_ours(model, calls, ours), theirs)


def test_measured_ratios_are_those_of_mag_cache(capsys):
    """On zoo:flux-digits, beside what diffusers prints after a run in calibration mode."""
    import ast

    pipe = fc.load("zoo:flux-digits")
    pipe.set_progress_bar_config(disable=True)
    request = fc.Request.of("zoo:flux-digits", steps=8, count=1)
    ours = fc.fit_schedule(pipe, request, "magcache").ratios
    capsys.readouterr()
    pipe.transformer.enable_cache(MagCacheConfig(calibrate=True, num_inference_steps=8))
    request.run(pipe)
    pipe.transformer.disable_cache()
    printed = [line for line in capsys.readouterr().out.splitlines() if line.startswith("[1.0")]
    assert ours == pytest.approx(ast.literal_eval(printed[0]), abs=2e-5)


def test_there_is_no_tea_cache_in_diffusers_yet():
    """Once there is, its steps are to be held against ours."""
    assert not hasattr(diffusers, "TeaCacheConfig")
