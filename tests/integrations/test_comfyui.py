"""The node for ComfyUI, on a stand-in that makes ComfyUI's calls; not run in ComfyUI itself."""

from __future__ import annotations

import gc
import importlib.util
import re
import sys
from types import ModuleType
from typing import Any

import pytest
import torch
from torch import Tensor

import forecastcache as fc

from ..test_architecture import ROOT
from . import comfy_stub
from .comfy_stub import CFGGuider, KSampler, Model, ModelPatcher

PACK = ROOT / "integrations" / "comfyui"
SIGMAS = {
    "flow": torch.linspace(1, 0, 13),
    "eps": torch.cat([torch.logspace(1.1, -1.4, 12), torch.zeros(1)]),
    "v": torch.cat([torch.logspace(1.1, -1.4, 12), torch.zeros(1)]),
}
BATCHES = {"together": lambda _: True, "apart": lambda _: False, "by turns": lambda it: it % 2 > 0}
CONDS = [torch.tensor([0.5, -0.2, 0.1, 0.9]), torch.tensor([-0.7, 0.3, 0.0, 0.2])]
UNCOND = torch.tensor([0.1, 0.1, -0.4, 0.0])


@pytest.fixture
def node(monkeypatch) -> Any:
    """The pack as ComfyUI's nodes.py loads it: a folder, by its path."""
    comfy_stub.installed(monkeypatch)
    spec = importlib.util.spec_from_file_location(
        "forecastcache_nodes", PACK / "__init__.py", submodule_search_locations=[str(PACK)]
    )
    assert spec is not None
    assert spec.loader is not None
    module: ModuleType = importlib.util.module_from_spec(spec)
    monkeypatch.setitem(sys.modules, "forecastcache_nodes", module)
    spec.loader.exec_module(module)
    kind = module.NODE_CLASS_MAPPINGS["ForecastCache"]
    assert {*module.NODE_DISPLAY_NAME_MAPPINGS} == {*module.NODE_CLASS_MAPPINGS}
    return kind


def patched(node: Any, model: Any, schedule: str, predictor: str = "taylor:1", on: bool = True):
    made = getattr(node(), node.FUNCTION)(model, schedule, predictor, on)
    assert node.RETURN_TYPES == ("MODEL",)
    return made[0]


def noise(height: int = 6, batch: int = 2) -> Tensor:
    return torch.randn(batch, 4, height, 5, generator=torch.Generator().manual_seed(height))


def sampled(
    model: ModelPatcher, sigmas: Tensor, together: Any = BATCHES["together"],
    sampler: Any = None, x: Tensor | None = None,
) -> Tensor:  # fmt: skip
    guider = CFGGuider(model, together)
    guider.set_conds(CONDS, [UNCOND])
    guider.cfg = 3.0
    try:
        return guider.sample(noise() if x is None else x, sampler or KSampler(), sigmas)
    finally:
        assert "forecastcache" not in guider.ended_with["transformer_options"]


def by_hand(
    model: Model, sigmas: Tensor, schedule: fc.Schedule, predictor: fc.LinearPredictor
) -> Tensor:
    """Euler's method where each condition's outputs are forecast by a row, written out."""
    total, x = len(sigmas) - 1, noise() * sigmas[0]
    computed, kept = {0, 1, *schedule.computed(total)}, list[fc.Step]()
    outputs: list[list[Tensor]] = [[], [], []]
    for i in range(total):
        step, level = fc.Step(i, float(sigmas[i]), total), sigmas[i].expand(len(x))
        found = []
        for own, condition in zip(outputs, [*CONDS, UNCOND]):
            if i in computed:
                found.append((x - model.denoised(x, level, condition[None])) / sigmas[i])
                own.append(found[-1])
            else:
                row = predictor.for_schedule(schedule).row(kept, step)
                found.append(sum(w * d for w, d in zip(row.tolist(), own, strict=True)))
        if i in computed:
            kept.append(step)
        positive, negative = (found[0] + found[1]) / 2, found[2]
        x = x + (negative + (positive - negative) * 3.0) * (sigmas[i + 1] - sigmas[i])
    return x


@pytest.mark.parametrize("batches", BATCHES)
@pytest.mark.parametrize("predicts", SIGMAS)
def test_with_all_steps_computed_nothing_changes(node, predicts, batches):
    model, sigmas, how = ModelPatcher(Model(predicts)), SIGMAS[predicts], BATCHES[batches]
    assert torch.equal(
        sampled(patched(node, model, "every:1"), sigmas, how), sampled(model, sigmas, how)
    )


@pytest.mark.parametrize("batches", BATCHES)
@pytest.mark.parametrize("predicts", SIGMAS)
@pytest.mark.parametrize("predictor", [fc.Taylor(1), fc.Reuse(), fc.Newton(2)], ids=str)
def test_each_condition_is_forecast_from_its_own_outputs(node, predictor, predicts, batches):
    """Whatever the network predicts, and however conditions are put into batches.

    Tolerance: float32, in which a division by a small noise level is undone again; levels of
    `eps` and `v` go from 13 to 0.04.
    """
    model, sigmas, schedule = Model(predicts), SIGMAS[predicts], fc.Every(3, first=3)
    spec = {"Taylor": "taylor:1", "Reuse": "reuse", "Newton": "newton:2"}
    made = sampled(
        patched(node, ModelPatcher(model), "every:3,first=3", spec[type(predictor).__name__]),
        sigmas, BATCHES[batches],
    )  # fmt: skip
    wanted = by_hand(model, sigmas, schedule, predictor)
    tolerance = 1e-5 if predicts == "flow" else 1e-4
    torch.testing.assert_close(made, wanted, rtol=tolerance, atol=tolerance)
    plain = sampled(ModelPatcher(Model(predicts)), sigmas)
    assert (made - plain).abs().max() > 5 * tolerance  # forecasts are seen
    calls = {"together": 1, "apart": 3, "by turns": None}[batches]
    if calls:
        assert model.calls == calls * len(schedule.computed(12))


def test_a_forecast_needs_every_condition_of_the_call(node):
    """Where a condition is new at a step, its call is computed."""
    model = ModelPatcher(Model())
    guider = CFGGuider(patched(node, model, "every:12,first=2"), BATCHES["together"])
    guider.set_conds(CONDS[:1], [UNCOND])
    every, late = guider.conds, [[*guider.conds[0], *guider.conds[0]], guider.conds[1]]
    late[0][1] = (object(), CONDS[1])  # as with `timestep_start`

    class Late(KSampler):
        def __call__(self, model_wrap: Any, *args: Any) -> Tensor:
            def wrap(*given: Any, **extra: Any) -> Tensor:
                model_wrap.conds = late if model_wrap.evaluations >= 6 else every
                return model_wrap(*given, **extra)

            return super().__call__(wrap, *args)

    guider.sample(noise(), Late(), SIGMAS["flow"])
    assert model.model.calls == 3  # steps 0 and 1, and 6, where it is new


@pytest.mark.parametrize("failing", [False, True])
def test_runs_do_not_see_each_other(node, failing):
    """Of other sizes, numbers of steps and conditions, one after another, or broken off."""
    model = patched(node, ModelPatcher(Model()), "every:3,first=2")
    fresh = patched(node, ModelPatcher(Model()), "every:3,first=2")
    wanted = sampled(fresh, SIGMAS["flow"])
    if failing:
        with pytest.raises(InterruptedError):
            sampled(model, SIGMAS["flow"], sampler=KSampler(fails_at=5))
    else:
        sampled(model, torch.linspace(1, 0, 9), x=noise(8, 1))
    gc.collect()
    assert not [it for it in gc.get_objects() if type(it) is fc.History]
    assert torch.equal(sampled(model, SIGMAS["flow"]), wanted)


def test_the_model_that_is_given_stays_as_it_is(node):
    model = ModelPatcher(Model())
    once = patched(node, model, "every:3")
    assert (model.wrappers, model.model_options) == ({}, {"transformer_options": {}})
    twice = patched(node, once, "every:4")
    assert [len(keys["forecastcache"]) for keys in twice.wrappers.values()] == [1, 1]
    off = patched(node, twice, "every:4", on=False)
    assert torch.equal(sampled(off, SIGMAS["flow"]), sampled(model, SIGMAS["flow"]))


def test_samplers_that_call_twice_a_step_are_computed(node, caplog):
    caplog.set_level("INFO", "forecastcache")
    model, sampler = ModelPatcher(Model()), KSampler(second_order=True)
    made = sampled(patched(node, model, "every:4,first=1"), SIGMAS["flow"], sampler=sampler)
    assert torch.equal(made, sampled(model, SIGMAS["flow"], sampler=sampler))
    assert "a condition came twice in a step" in caplog.text


def test_other_noise_levels_than_the_runs_are_computed(node, caplog):
    caplog.set_level("INFO", "forecastcache")
    model = ModelPatcher(Model())

    class Churned(KSampler):
        """comfy/k_diffusion/sampling.py, sample_euler with s_churn."""

        def __call__(self, model_wrap: Any, sigmas: Tensor, *args: Any) -> Tensor:
            return super().__call__(model_wrap, sigmas * 1.1, *args)

    plain = sampled(model, SIGMAS["flow"], sampler=Churned())
    made = sampled(patched(node, model, "every:4"), SIGMAS["flow"], sampler=Churned())
    assert torch.equal(made, plain)
    assert "at other noise levels than its own" in caplog.text


@pytest.mark.parametrize("option", ["context_window", "multigpu_thread_device"])
def test_parts_of_a_sample_are_computed(node, option):
    model = ModelPatcher(Model())
    model.model_options["transformer_options"][option] = object()
    made = sampled(patched(node, model, "every:4"), SIGMAS["flow"])
    assert torch.equal(made, sampled(model, SIGMAS["flow"]))


def test_a_forecast_that_is_not_finite_is_computed(node):
    class Exploding(Model):
        def denoised(self, x: Tensor, t: Tensor, condition: Tensor) -> Tensor:
            far = 3e38 if 0.8 < float(t[0]) < 0.95 else 1.0
            return super().denoised(x, t, condition) * far

    model = ModelPatcher(Exploding())
    sampled(patched(node, model, "every:12,first=2"), torch.linspace(1, 0, 13))
    assert model.model.calls > 2


def test_a_run_that_begins_late_has_as_many_steps_as_it_makes(node):
    """As image-to-image has, whose noise levels are the last of a longer run."""
    model = Model()
    sampled(patched(node, ModelPatcher(model), "warped:3"), SIGMAS["flow"][6:])
    assert model.calls == 4  # 0, 1, 3 and the last
    with pytest.raises(fc.errors.ScheduleError, match="names step 9, but the trajectory has 6"):
        sampled(patched(node, ModelPatcher(model), "0,3,9"), SIGMAS["flow"][6:])


@pytest.mark.parametrize(
    ("schedule", "predictor", "said"),
    [
        ("easycache:0.1", "taylor:1", "decides as it runs, which this node does not serve"),
        ("every:3", "meanvelocity", "needs latent and .* which ComfyUI does not show here"),
        ("evry:3", "taylor:1", "evry"),
        ("every:3", "taylor:order=x", "order"),
    ],
)
def test_what_cannot_be_served_is_refused(node, schedule, predictor, said):
    with pytest.raises(fc.ForecastCacheError, match=said):
        patched(node, ModelPatcher(Model()), schedule, predictor)


def test_neither_it_nor_the_examples_come_with_the_wheel():
    listed = re.search(
        r"^packages = \[(.*?)\]", (ROOT / "pyproject.toml").read_text(), re.M | re.S
    )
    assert listed is not None
    assert "forecastcache.engine" in listed[1]
    assert "integrations" not in listed[1]
    assert "examples" not in listed[1]
