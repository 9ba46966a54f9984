"""Planned bytes are measured ones under autocast, whose dtypes the meta device does not know."""

from __future__ import annotations

import pytest
import torch

import forecastcache as fc
from forecastcache.registry import adapter_for

from ..adapters.tiny import make

TIMES = (900.0, 700.0)
FAMILIES = ("dit", "flux", "qwen_image", "hunyuan_video", "framepack", "wan", "hidream")


def run(tiny):
    time = adapter_for(tiny.model).time_argument(tiny.model)
    batch = len(next(it for it in tiny.arguments.values() if isinstance(it, torch.Tensor)))
    with torch.no_grad():
        for each in TIMES:
            tiny.model(**tiny.arguments, **{time: torch.full((batch,), each)})


# torch says so once, of the run itself.
@pytest.mark.filterwarnings("ignore:Mismatch dtype between input and weight")
@pytest.mark.parametrize("site", ["output", "module"])
@pytest.mark.parametrize("name", FAMILIES)
def test_planned_is_measured(name, site):
    tiny = make(name)
    with fc.attach(tiny.model, fc.Every(2, first=1), fc.Taylor(), site=site) as session:
        with torch.autocast("cpu", dtype=torch.bfloat16):
            run(tiny)
        mixed = session.report()
        run(tiny)
        full = session.report()
    assert mixed.cache_bytes == mixed.cache_bytes_planned, mixed.unplanned
    assert full.cache_bytes == full.cache_bytes_planned, full.unplanned
    assert mixed.cache_bytes < full.cache_bytes
    assert mixed.flops == full.flops


@pytest.mark.filterwarnings("ignore:Mismatch dtype between input and weight")
def test_a_budget_that_fits_is_not_refused():
    tiny = make("flux")
    with fc.attach(tiny.model, fc.Every(2), fc.Reuse(), site="module") as session:
        run(tiny)
        needed = session.report().cache_bytes
    with (
        torch.autocast("cpu", dtype=torch.bfloat16),
        fc.attach(tiny.model, fc.Every(2), fc.Reuse(), site="module", budget=needed // 2 + 64),
    ):
        run(tiny)
