from __future__ import annotations

import gc
from pathlib import Path

import pytest
import torch
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.utils.flop_counter import FlopCounterMode

import forecastcache as fc
from forecastcache.errors import BudgetError
from forecastcache.memory.dry_run import dry_run, measured_bytes
from forecastcache.memory.shapes import shapes_of
from forecastcache.registry import adapter_for

from ..conftest import SITES, make_transformer


def call_arguments() -> dict[str, torch.Tensor]:
    return {
        "hidden_states": torch.randn(2, 4, 8, 8),
        "timestep": torch.tensor([7, 7]),
        "class_labels": torch.tensor([1, 1000]),
    }


def test_shapes_of_keeps_shapes_and_the_values_of_whole_numbers():
    arguments = call_arguments()
    shapes = shapes_of(arguments)
    assert shapes["hidden_states"].shape == (2, 4, 8, 8)
    assert shapes["hidden_states"].is_meta
    arguments["class_labels"].zero_()
    assert shapes["class_labels"].tolist() == [1, 1000]


@pytest.mark.parametrize("site", SITES)
def test_a_planned_counts_the_flops_of_the_real_thing(site):
    model, arguments = make_transformer(), call_arguments()
    planned = dry_run(model, adapter_for(model), site, shapes_of(arguments))

    def flops_of(time: int) -> int:
        # torch counts attention where it is bmm, but not its fused kernel for CPUs.
        unfused = sdpa_kernel(SDPBackend.MATH)
        with FlopCounterMode(display=False) as counter, torch.no_grad(), unfused:
            model(**arguments | {"timestep": torch.tensor([time, time])})
        return counter.get_total_flops()

    with fc.attach(model, fc.Listed([0]), fc.Reuse(), site=site):
        assert (flops_of(900), flops_of(800)) == (
            planned.flops_computed,
            planned.flops_forecast,
        )


@pytest.mark.parametrize("site", SITES)
def test_a_planned_touches_neither_model_nor_memory(site):
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
    planned = dry_run(model, adapter_for(model), "module", shapes_of(call_arguments()))
    feature_numbers = 2 * 16 * 16 * 6  # batch, tokens, width, three blocks of two modules
    assert planned.planned_bytes(depth=3) == 3 * feature_numbers * 4
    assert planned.planned_bytes(1, torch.bfloat16) == feature_numbers * 2


def test_measured_bytes():
    histories = [fc.History(2), fc.History(3), fc.History(4)]
    histories[0].observe(fc.Step(0, 0.0), torch.zeros(5))
    histories[1].observe(fc.Step(0, 0.0), torch.zeros(7, dtype=torch.float64))
    assert measured_bytes(histories) == 2 * 5 * 4 + 3 * 7 * 8


class ReadsItsData(torch.nn.Module):
    """What the meta device cannot follow."""

    def forward(self, x, timestep):
        return x * 2 if x.sum().item() > 0 else x


def test_a_model_that_reads_data_still_reports_and_says_why_no_bytes_are_planned():
    model = ReadsItsData()
    with fc.attach(model, fc.Every(2), fc.Reuse()) as session:
        model(torch.ones(3), torch.tensor(5.0))
    report = session.report()
    assert report.dry_runs is report.cache_bytes_planned is report.flops is None
    assert report.cache_bytes == 12
    assert "(the model reads data on its way)" in report.unplanned
    assert f"at {Path(__file__).name}:" in report.unplanned  # the line that reads
    assert str(report).endswith(f"planned not: {report.unplanned}")


class Plain(torch.nn.Module):
    def forward(self, x, timestep):
        return x * timestep


def lost(model):
    raise RuntimeError("the adapter lost its way\nand more")


BROKEN = fc.Adapter(name="broken", models=("*",), without_data=lost)


@pytest.fixture
def broken(monkeypatch):
    monkeypatch.setattr("forecastcache.engine.session.adapter_for", lambda model: BROKEN)


def test_a_broken_adapter_is_named_as_the_cause(broken):
    model = Plain()
    with fc.attach(model, fc.Every(2), fc.Reuse()) as session:
        model(torch.ones(3), torch.tensor(5.0))
    said = session.report().unplanned
    assert "RuntimeError: the adapter lost its way at test_dry_run.py:" in said
    assert "reads data" not in said
    assert "\n" not in said


def test_the_refusal_of_a_budget_gives_the_same_reason(broken):
    model = Plain()
    with (
        fc.attach(model, fc.Every(2), fc.Reuse(), budget="1 GiB"),
        pytest.raises(BudgetError, match="cannot be planned: .*the adapter lost its way.*budget="),
    ):
        model(torch.ones(3), torch.tensor(5.0))


def test_a_session_that_has_not_run_or_whose_model_is_gone_says_so():
    model = Plain()
    session = fc.attach(model, fc.Every(2), fc.Reuse())
    assert session.report().unplanned == "no step was taken yet"
    model(torch.ones(3), torch.tensor(5.0))
    assert session.report().unplanned is None
    session.detach()
    del model
    gc.collect()
    assert session.report().unplanned == "the model is gone"
