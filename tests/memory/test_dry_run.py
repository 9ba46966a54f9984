from __future__ import annotations

import pytest
import torch
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.utils.flop_counter import FlopCounterMode

import forecastcache as fc
from forecastcache.memory.dry_run import dry_run, measured_bytes, shapes_of
from forecastcache.registry import adapter_for

from ..conftest import SITES, make_transformer


def call_arguments() -> dict[str, torch.Tensor]:
    return {
        "hidden_states": torch.randn(2, 4, 8, 8),
        "timestep": torch.tensor([7, 7]),
        "class_labels": torch.tensor([1, 1000]),
    }


def test_shapes_of_keeps_shapes_and_drops_data():
    shapes = shapes_of(call_arguments())
    assert shapes["hidden_states"].shape == (2, 4, 8, 8)
    assert {x.device.type for x in shapes.values()} == {"meta"}


@pytest.mark.parametrize("site", SITES)
def test_a_rehearsal_counts_the_flops_of_the_real_thing(site):
    model, arguments = make_transformer(), call_arguments()
    rehearsal = dry_run(model, adapter_for(model), site, shapes_of(arguments))

    def flops_of(time: int) -> int:
        # torch counts attention where it is bmm, but not its fused kernel for CPUs.
        unfused = sdpa_kernel(SDPBackend.MATH)
        with FlopCounterMode(display=False) as counter, torch.no_grad(), unfused:
            model(**arguments | {"timestep": torch.tensor([time, time])})
        return counter.get_total_flops()

    with fc.attach(model, fc.Listed([0]), fc.Reuse(), site=site):
        assert (flops_of(900), flops_of(800)) == (
            rehearsal.flops_computed,
            rehearsal.flops_forecast,
        )


@pytest.mark.parametrize("site", SITES)
def test_a_rehearsal_touches_neither_model_nor_memory(site):
    model = make_transformer()
    state = {name: value.clone() for name, value in model.state_dict().items()}
    with fc.attach(model, fc.Every(2), fc.Taylor(), site=site) as session:
        forward = model.forward
        with torch.no_grad():
            model(**call_arguments())
        first, second = session.report(), session.report()
        assert model.forward is forward
    assert first.dry_runs is not None
    assert first.flops == second.flops > 0
    kept = [feature for features in first.dry_runs[0].sites.values() for feature in features]
    assert {feature.device.type for feature in kept} == {"meta"}
    assert all(torch.equal(value, state[name]) for name, value in model.state_dict().items())


def test_planned_bytes():
    model = make_transformer()
    rehearsal = dry_run(model, adapter_for(model), "module", shapes_of(call_arguments()))
    feature_numbers = 2 * 16 * 16 * 6  # batch, tokens, width, three blocks of two modules
    assert rehearsal.planned_bytes(depth=3) == 3 * feature_numbers * 4
    assert rehearsal.planned_bytes(1, torch.bfloat16) == feature_numbers * 2


def test_measured_bytes():
    histories = [fc.History(2), fc.History(3), fc.History(4)]
    histories[0].observe(fc.Step(0, 0.0), torch.zeros(5))
    histories[1].observe(fc.Step(0, 0.0), torch.zeros(7, dtype=torch.float64))
    assert measured_bytes(histories) == 2 * 5 * 4 + 3 * 7 * 8


class ReadsItsData(torch.nn.Module):
    """What the meta device cannot rehearse."""

    def forward(self, x, timestep):
        return x * 2 if x.sum().item() > 0 else x


def test_a_model_that_cannot_be_rehearsed_still_reports():
    model = ReadsItsData()
    with fc.attach(model, fc.Every(2), fc.Reuse()) as session:
        model(torch.ones(3), torch.tensor(5.0))
    report = session.report()
    assert report.dry_runs is report.cache_bytes_planned is report.flops is None
    assert report.cache_bytes == 12
    assert "planned not" in str(report)
