"""What a session says of the trajectory that it ran."""

from __future__ import annotations

import pytest
import torch

import forecastcache as fc

from ..conftest import SITES, sample

EVERY_THIRD = fc.Every(3, first=2)


@pytest.mark.parametrize("site", SITES)
def test_measured_bytes_are_the_planned_ones(pipe, site):
    predictor = fc.Taylor(order=2)
    features = {
        # batch 2 doubled by guidance, 4x4 tokens of width 16, 3 blocks, 2 modules a block
        "output": 4 * 4 * 8 * 8,
        "hidden": 4 * 16 * 16,
        "block": 4 * 16 * 16 * 3,
        "module": 4 * 16 * 16 * 3 * 2,
    }
    with fc.attach(pipe, EVERY_THIRD, predictor, site=site) as session:
        sample(pipe)
        report = session.report()
    assert report.cache_bytes == predictor.depth * features[site] * 4
    assert report.cache_bytes_planned == report.cache_bytes
    with fc.attach(pipe, EVERY_THIRD, predictor, site=site, dtype=torch.bfloat16) as session:
        sample(pipe)
        report = session.report()
    assert report.cache_bytes == report.cache_bytes_planned == predictor.depth * features[site] * 2


def test_the_report_runs_nobodys_hooks(pipe):
    seen = []
    pipe.transformer.transformer_blocks[0].register_forward_hook(lambda *_: seen.append(1))
    with fc.attach(pipe, EVERY_THIRD, fc.Taylor()) as session:
        sample(pipe)
        assert len(seen) == 5
        assert session.report().dry_runs is not None
    assert len(seen) == 5


def test_the_report_reads_well(pipe):
    with fc.attach(pipe, EVERY_THIRD, fc.Taylor(), site="block") as session:
        assert "no step taken yet" in str(session.report())
        sample(pipe)
        report = session.report()
    assert (report.steps, report.ceiling) == (12, 12 / 5)
    (step,) = report.dry_runs
    assert step is not None
    assert report.flops == 5 * step.flops_computed + 7 * step.flops_forecast
    assert 0 < step.flops_forecast < 0.1 * step.flops_computed
    lines = str(report).splitlines()
    assert lines[1] == "12 steps, 5 computed: 0 1 4 7 10"
    assert f"cache bytes {report.cache_bytes:,}, planned" in lines[-1]
