"""The host never waits for the device at a step: what would, on a GPU, is counted here.

Each of these calls would read a number from the device. What the pipeline itself reads is counted
without a session and taken off; what is left must not grow with the number of steps.
"""

from __future__ import annotations

import pytest

import forecastcache as fc
from forecastcache.testing.host_reads import host_reads

from ..adapters.pipelines import PIPELINES, Case, run
from ..conftest import SITES

ONCE_A_RUN = 16  # timesteps and noise levels, the first time, each branch's conditions, the flags


def reads(case: Case, steps: int) -> int:
    with host_reads() as count:
        run(case.pipe, case.request, num_inference_steps=steps)
    return count()


def reads_beyond(case: Case, steps: int, site: str, computed: tuple[int, ...]) -> int:
    plain = reads(case, steps)
    with fc.attach(case.pipe, fc.Listed(computed), fc.Taylor(1), site=site):
        return reads(case, steps) - plain


NAMES = ["dit", "flux", "flux_true_guidance", "qwen_image", "hunyuan_video", "wan", "hidream"]


@pytest.mark.parametrize("name", NAMES)
def test_more_steps_read_no_more(name):
    few = reads_beyond(PIPELINES[name](), 5, "output", (0, 1))
    many = reads_beyond(PIPELINES[name](), 11, "output", (0, 1))
    # Fewer where the model itself reads, which a forecast step spares.
    assert many <= few <= ONCE_A_RUN


@pytest.mark.parametrize("site", SITES)
def test_more_computed_steps_read_no_more(site):
    few = reads_beyond(PIPELINES["flux"](), 9, site, (0, 1))
    many = reads_beyond(PIPELINES["flux"](), 9, site, (0, 1, 3, 5, 7))
    assert many == few <= ONCE_A_RUN


def test_what_is_recomputed_where_it_is_not_finite_is_looked_at():
    case = PIPELINES["flux"]()
    plain = reads(case, 9)
    options = {"not_finite": "recompute"}
    with fc.attach(case.pipe, fc.Listed([0, 1]), fc.Taylor(1), **options):
        assert reads(case, 9) - plain >= 7
