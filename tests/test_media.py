"""The models of other media: their recipes build and train."""

from __future__ import annotations

from dataclasses import replace
from importlib import import_module

import pytest
import torch

from forecastcache.zoo.training import fit

from .test_architecture import ROOT

SHAPES = {"upscale": (2, 3, 32, 32), "sound": (2, 1, 2048)}
FEW = {"upscale": {"SUBJECTS": 8, "BATCH": 4}, "sound": {"SOUNDS": 8, "BATCH": 4, "VAE_BATCH": 1}}


@pytest.mark.parametrize("name", SHAPES)
@pytest.mark.filterwarnings("ignore:.*weight_norm:FutureWarning")
def test_a_step_of_each_stage_trains_and_samples_are_made(name, tmp_path, monkeypatch):
    monkeypatch.syspath_prepend(ROOT / "benchmarks" / "media")
    recipe = import_module(name)
    for size, value in FEW[name].items():
        monkeypatch.setattr(recipe, size, value)
    torch.manual_seed(0)
    pipe = recipe.pipeline()
    for stage in recipe.stages(pipe, 0):
        before = [it.clone() for it in stage.model.parameters()]
        fit(replace(stage, steps=1, compiled=()), tmp_path)
        moved = [not a.equal(b) for a, b in zip(before, stage.model.parameters())]
        assert sum(moved) > len(moved) / 2
    pipe.set_progress_bar_config(disable=True)
    call = {**recipe.calls(pipe, 2, seed=1), "num_inference_steps": 2}
    seeds = [torch.Generator().manual_seed(it) for it in range(2)]
    made = recipe.samples(pipe(**call, generator=seeds))
    assert made.shape == SHAPES[name]
    assert made.isfinite().all()
    assert recipe.worth(made, 2, 1)
