"""What only a GPU can show; skipped where there is none."""

from __future__ import annotations

import pytest
import torch

import forecastcache as fc

from ..conftest import SITES, make_transformer

pytestmark = pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")

ROUNDING = 512  # bytes to which the allocator rounds each block up
STEPS = 8
SAMPLE = 4 * 2 * 4 * 8 * 8  # bytes


def run(model: torch.nn.Module, steps: int = STEPS) -> None:
    sample = torch.randn(2, 4, 8, 8, device="cuda")
    labels = torch.tensor([1, 2], device="cuda")
    for step in range(steps):
        times = torch.full((2,), 900 - 50 * step, device="cuda")
        with torch.no_grad():
            model(sample, timestep=times, class_labels=labels)


def peak_of(model: torch.nn.Module) -> int:
    torch.cuda.synchronize()
    torch.cuda.reset_peak_memory_stats()
    run(model)
    torch.cuda.synchronize()
    return torch.cuda.max_memory_allocated()


@pytest.mark.parametrize("site", SITES)
def test_the_allocator_holds_what_the_accountant_says(site):
    model = make_transformer().cuda()
    run(model)  # what cuBLAS and the like keep for good
    before, plain_peak = torch.cuda.memory_allocated(), peak_of(model)
    with fc.attach(model, fc.Every(3, first=2), fc.Taylor(1), site=site) as session:
        peak = peak_of(model)
        held = torch.cuda.memory_allocated() - before
        report = session.report()
    histories = len(report.dry_runs[0].sites)
    # Beside its features a session holds the newest sample, and times that nobody has read yet.
    slack = ROUNDING * (histories + STEPS) + 2 * SAMPLE
    assert report.cache_bytes == report.cache_bytes_planned
    assert report.cache_bytes <= held <= report.cache_bytes + slack
    ahead = report.cache_bytes // 2  # forecasts of small features, made together
    assert peak - plain_peak <= report.cache_bytes + ahead + slack
    assert torch.cuda.memory_allocated() <= before + ROUNDING


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_offloaded_histories_give_the_same_sums_and_nobody_waits(dtype):
    shape = (3, 2**20 + 5)  # more than one block of a streamed sum
    here, there = fc.History(3), fc.History(3, device="cpu")
    row = [0.5, -1.5, 2.0]
    torch.cuda.set_sync_debug_mode("error")
    try:
        for index in range(4):
            feature = torch.randn(shape, device="cuda").to(dtype)
            for history in (here, there):
                history.observe(fc.Step(index, 0.0), feature)
        sums = here.combine(row), there.combine(row)
    finally:
        torch.cuda.set_sync_debug_mode("default")
    assert torch.equal(*sums)
    assert torch.equal(there.features[-1], here.features[-1].cpu())
