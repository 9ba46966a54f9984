"""What a decision costs, as the docstrings say it, in operations."""

from __future__ import annotations

import pytest
import torch
from torch.utils.flop_counter import FlopCounterMode

import forecastcache as fc
from forecastcache.testing.fake_pipeline import FakePipeline

from .test_peers import STEPS, computed_in, trajectory

NOTHING = ("magcache:1,ratios=(1,1.2,0.9)", "easycache:0.2", "seacache:0.2,of=sample", "drift")


def spent(schedule: str | fc.Schedule) -> tuple[int, list[int]]:
    """Operations of a run, and its computed steps."""
    model, calls = trajectory("flux")
    pipe = FakePipeline([float(given["timestep"]) for given in calls], model)
    with (
        fc.attach(pipe, schedule, "reuse") as session,
        torch.no_grad(),
        FlopCounterMode(display=False) as counter,
    ):
        for given in calls:
            model(**given)
    return counter.get_total_flops(), computed_in(session)


def look(*stop_at: str) -> int:
    """Operations of a model's call up to its first block, or up to what comes first in it."""

    class Stop(Exception):
        pass

    def stop(*_: object) -> None:
        raise Stop

    model, calls = trajectory("flux")
    model.get_submodule(".".join(("transformer_blocks.0", *stop_at))).register_forward_hook(stop)
    with torch.no_grad(), FlopCounterMode(display=False) as counter, pytest.raises(Stop):
        model(**calls[0])
    return counter.get_total_flops()


@pytest.mark.parametrize("spec", NOTHING)
def test_some_run_no_part_of_the_model(spec):
    flops, computed = spent(spec)
    assert flops == spent(fc.Listed(computed))[0]


@pytest.mark.parametrize(
    ("spec", "looks", "until"),
    [
        ("teacache:0.5", "all", ("norm1",)),
        ("seacache:0.2", "all", ("norm1",)),
        ("firstblock:0.4", "all", ()),
        ("verified:0.5,in_a_row=4", "all", ()),
        ("adacache", "computed", ()),
    ],
)
def test_the_others_look_into_it_at_each_step_or_each_computed_one(spec, looks, until):
    flops, computed = spent(spec)
    assert 2 < len(computed) < STEPS
    count = STEPS if looks == "all" else len(computed)
    assert flops - spent(fc.Listed(computed))[0] == count * look(*until)
