"""Planned bytes are measured ones where a model reads masks, positions and conditions."""

from __future__ import annotations

import pytest
import torch
from torch import nn

import forecastcache as fc
from forecastcache.memory.dry_run import dry_run
from forecastcache.memory.shapes import shapes_of
from forecastcache.registry import adapter_for

from ..adapters.tiny import make
from .unnamed import MODELS


@pytest.mark.parametrize("name", MODELS)
def test_planned_is_measured_in_models_that_no_adapter_names(name):
    model, calls = MODELS[name]()
    with fc.attach(model, fc.Every(2, first=2), fc.Taylor()) as session, torch.no_grad():
        for i, time in enumerate((9.0, 8.0, 7.0)):
            call = calls[min(i, len(calls) - 1)]
            model(**call, timestep=torch.tensor([time]), return_dict=False)
    report = session.report()
    assert report.cache_bytes == report.cache_bytes_planned, report.unplanned
    assert report.flops > 0


class Masked(nn.Module):
    """As many rows come out as the mask lets through, in each of several ways to say so."""

    def __init__(self, way: str) -> None:
        super().__init__()
        self.way = way

    def forward(self, x, mask, timestep):
        numbers = torch.zeros(len(mask), dtype=torch.int64, device=x.device)
        numbers += mask
        if self.way == "mask":
            return x[mask.bool()]
        if self.way == "sum":
            return x[: numbers.sum()]
        if self.way == "item":
            return x[: int(mask.sum().item())]
        if self.way == "nonzero":
            return x[mask.nonzero().flatten()]
        if self.way == "list":
            return torch.cat([row[None] for row, there in zip(x, mask.tolist()) if there])
        return x.masked_select(mask.bool()[:, None]) if self.way == "select" else x[mask > x[0, 0]]


def planned(model: nn.Module, **call: object) -> tuple[tuple[int, ...], ...]:
    arguments = shapes_of({**call, "timestep": torch.tensor([9.0])})
    found = dry_run(model, adapter_for(model), "output", arguments)
    return tuple(tuple(feature.shape) for feature in found.sites[""])


@pytest.mark.parametrize("way", ["mask", "sum", "item", "nonzero", "list"])
def test_a_size_that_a_mask_tells_is_known(way):
    mask = torch.tensor([1, 0, 1, 1, 0])
    assert planned(Masked(way), x=torch.randn(5, 2), mask=mask) == ((3, 2),)
    assert mask.tolist() == [1, 0, 1, 1, 0]


def test_a_size_that_real_numbers_tell_is_not_guessed():
    with pytest.raises(RuntimeError):
        planned(Masked("compared"), x=torch.randn(5, 2), mask=torch.ones(5, dtype=torch.int64))


class Branching(nn.Module):
    """Asks for a truth value that depends on data."""

    def __init__(self, wide: int) -> None:
        super().__init__()
        self.wide = wide

    def forward(self, x, timestep):
        if not torch.isfinite(x).all():
            raise ValueError("not finite")
        return x * 2 if (x > 0).any() else x.repeat(1, self.wide)


def test_a_condition_that_reads_data_may_not_change_shapes():
    assert planned(Branching(1), x=torch.randn(5, 2)) == ((5, 2),)
    with pytest.raises(fc.ForecastCacheError, match="depends on a condition that reads data"):
        planned(Branching(3), x=torch.randn(5, 2))


class Store:
    """What a model writes to, an object of its own."""

    def __init__(self) -> None:
        self.kept: list[torch.Tensor] = []


class Writes(nn.Module):
    def forward(self, x, timestep, store):
        store.kept.append(x)
        return torch.cat(store.kept)


def test_a_dry_run_writes_to_nothing_of_the_caller():
    store = Store()
    store.kept.append(torch.randn(3, 2))
    assert planned(Writes(), x=torch.randn(1, 2), store=store) == ((4, 2),)
    assert len(store.kept) == 1


class Packed(nn.Linear):
    """Keeps its weight as bitsandbytes and GGUF do, in bytes of another shape."""

    def __init__(self, linear: nn.Linear) -> None:
        super().__init__(linear.in_features, linear.out_features, linear.bias is not None)
        self.bias = linear.bias
        data = linear.weight.detach().view(torch.uint8).flatten()[:, None].clone()
        self.weight = nn.Parameter(data, requires_grad=False)
        self.weight.state = "lost with the data"

    def forward(self, x):
        assert self.weight.state
        weight = self.weight.flatten().view(torch.float32)
        return nn.functional.linear(x, weight.view(self.out_features, self.in_features), self.bias)


@pytest.mark.parametrize("site", ["output", "module"])
def test_layers_that_are_quantised_are_planned_as_what_they_stand_for(site):
    reports = []
    for packed in (False, True):
        tiny = make("dit")
        for path, layer in list(tiny.model.named_modules()):
            if packed and type(layer) is nn.Linear and "attn" in path:
                parent, _, name = path.rpartition(".")
                setattr(tiny.model.get_submodule(parent), name, Packed(layer))
        with fc.attach(tiny.model, fc.Every(2), fc.Reuse(), site=site) as session, torch.no_grad():
            tiny.model(**tiny.arguments, timestep=torch.tensor([9, 9]))
        reports.append(session.report())
    full, quantised = reports
    assert quantised.cache_bytes == quantised.cache_bytes_planned == full.cache_bytes
    assert quantised.flops == full.flops > 0
