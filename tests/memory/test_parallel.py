"""Where a model's tokens are shared among processes, what one of them holds is planned."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
import torch
from diffusers import ContextParallelConfig
from torch import distributed
from torch.testing._internal.distributed.fake_pg import FakeStore

import forecastcache as fc

from ..adapters.tiny import make
from ..conftest import SITES


@pytest.fixture
def one_of_two(monkeypatch) -> Iterator[None]:
    """This process is one of two, and what the other would send is made up."""
    monkeypatch.setattr(
        torch.accelerator, "device_count", lambda: 1
    )  # the rank is taken modulo it
    distributed.init_process_group("fake", store=FakeStore(), rank=0, world_size=2)
    yield
    distributed.destroy_process_group()


@pytest.mark.filterwarnings("ignore:.*deprecated:FutureWarning")
@pytest.mark.parametrize("site", SITES)
@pytest.mark.parametrize(
    "name", ["flux", "wan", pytest.param("qwen_image", marks=pytest.mark.slow)]
)
def test_planned_is_measured_under_context_parallelism(name, site, one_of_two):
    tiny = make(name)
    text = {"encoder_hidden_states": torch.randn(2, 6, 12)}
    if name == "flux":
        text["txt_ids"] = torch.zeros(6, 3)
    if name == "qwen_image":
        text["encoder_hidden_states_mask"] = torch.ones(2, 6, dtype=torch.int64)
    call = {**tiny.arguments, **text, "timestep": torch.tensor([9.0, 9.0]), "return_dict": False}
    found = []
    for parallel in (False, True):
        if parallel:
            tiny.model.enable_parallelism(config=ContextParallelConfig(ulysses_degree=2))
        with fc.attach(tiny.model, fc.Every(2), fc.Reuse(), site=site) as session, torch.no_grad():
            tiny.model(**call)
        report = session.report()
        assert report.cache_bytes == report.cache_bytes_planned, report.unplanned
        found.append(report.cache_bytes)
    whole, shared = found
    assert shared == (whole if site == "output" else whole // 2)  # the output is gathered
