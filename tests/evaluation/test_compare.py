"""Who is ahead at equal cost, on rows whose answers are plain to see."""

from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from forecastcache.evaluation.compare import (
    COSTS,
    best_within,
    cheapest_reaching,
    lead,
    times_fewer,
    with_fidelity,
)
from forecastcache.evaluation.measurement import Measurement


def row(kind: str, count: int, psnr_db: float | None, seconds: float = 1.0) -> Measurement:
    return Measurement(
        name=f"{kind} {count}", kind=kind, line=kind, count=count, flops=10 * count,
        seconds=seconds, seconds_plain=10.0, latent_psnr_db=psnr_db,
    )  # fmt: skip


OURS = [row("forecast", 5, 39.0, 1.1), row("forecast", 9, 54.0, 1.9)]
BASELINES = [
    row("baseline", 9, 45.0, 2.0),
    row("baseline", 12, 47.0, 2.5),
    row("baseline", 5, 30.0, 1.0),
]


def test_rows_without_a_fidelity_do_not_stand():
    failed = Measurement(name="broken", kind="baseline", line="broken", error="out of ideas")
    identical = row("baseline", 50, None)
    assert with_fidelity([*OURS, *BASELINES, failed, identical], "baseline") == BASELINES


def test_a_lead_is_over_every_baseline_that_the_budget_allows():
    assert lead(OURS, BASELINES, "computed steps", 9) == 54 - 45
    assert lead(OURS, BASELINES, "computed steps", 12) == 54 - 47  # ours of nine, theirs of twelve
    assert lead(OURS, BASELINES, "FLOPs", 120) == 54 - 47
    assert lead(OURS, BASELINES, "seconds", 0.19) == 54 - 30  # the baseline of nine is dearer
    assert lead(OURS, BASELINES, "seconds", 0.19, slack=0.06) == 54 - 45
    assert lead(OURS, BASELINES, "computed steps", 4) is None
    assert lead(OURS[1:], BASELINES, "computed steps", 5) == -math.inf
    assert lead(OURS, BASELINES[:2], "computed steps", 5) is None
    assert lead(BASELINES[2:], OURS, "computed steps", 5) == 30 - 39


def test_equal_fidelity_costs_so_many_times_less():
    assert times_fewer(OURS, BASELINES[1], "computed steps") == 12 / 9
    assert times_fewer(OURS, BASELINES[2], "computed steps") == 1
    assert times_fewer(OURS, row("baseline", 40, 60.0), "computed steps") is None


@pytest.mark.parametrize("cost", COSTS)
@given(psnrs=st.lists(st.floats(1, 99), min_size=1), limit=st.integers(0, 40))
def test_what_is_chosen_is_affordable_and_unsurpassed(cost, psnrs, limit):
    rows = [row("baseline", i + 1, psnr, seconds=i + 1.0) for i, psnr in enumerate(psnrs)]
    best = best_within(rows, cost, limit)
    affordable = [it for it in rows if COSTS[cost](it) <= limit]
    assert (best is None) == (not affordable)
    if best is not None:
        assert best in affordable
        assert best.latent_psnr_db == max(it.latent_psnr_db for it in affordable)
        cheapest = cheapest_reaching(rows, cost, best.latent_psnr_db)
        assert COSTS[cost](cheapest) <= COSTS[cost](best)
