"""Who is ahead at equal cost, on rows whose answers are plain to see."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from forecastcache.evaluation.standing import (
    COSTS,
    best_within,
    cheapest_reaching,
    lead,
    measured,
    times_fewer,
)


def row(kind: str, computed: int, psnr_db: float | None, seconds: float = 1.0) -> dict:
    return {
        "name": f"{kind} {computed}", "kind": kind, "computed": computed, "flops": 10 * computed,
        "seconds": seconds, "seconds_plain": 10.0, "latent_psnr_db": psnr_db,
    }  # fmt: skip


OURS = [row("forecast", 5, 39.0, 1.1), row("forecast", 9, 54.0, 1.9)]
RIVALS = [row("rival", 9, 45.0, 2.0), row("rival", 12, 47.0, 2.5), row("rival", 5, 30.0, 1.0)]


def test_rows_without_a_fidelity_do_not_stand():
    failed = {"name": "broken", "kind": "rival", "error": "out of ideas"}
    identical = row("rival", 50, None)
    assert measured([*OURS, *RIVALS, failed, identical], "rival") == RIVALS


def test_a_lead_is_over_what_costs_no_more():
    assert lead(OURS[1], RIVALS, "computed steps") == 54 - 45
    assert lead(OURS[1], RIVALS, "FLOPs") == 54 - 45
    assert lead(OURS[1], RIVALS, "seconds") == 54 - 30  # the one of nine steps is dearer
    assert lead(OURS[1], RIVALS, "seconds", slack=0.06) == 54 - 45
    assert lead(OURS[0], RIVALS[:2], "computed steps") is None
    assert lead(RIVALS[2], OURS, "computed steps") == 30 - 39


def test_equal_fidelity_costs_so_many_times_less():
    assert times_fewer(OURS, RIVALS[1], "computed steps") == 12 / 9
    assert times_fewer(OURS, RIVALS[2], "computed steps") == 1
    assert times_fewer(OURS, row("rival", 40, 60.0), "computed steps") is None


@pytest.mark.parametrize("cost", COSTS)
@given(psnrs=st.lists(st.floats(1, 99), min_size=1), limit=st.integers(0, 40))
def test_what_is_chosen_is_affordable_and_unsurpassed(cost, psnrs, limit):
    rows = [row("rival", i + 1, psnr, seconds=i + 1.0) for i, psnr in enumerate(psnrs)]
    best = best_within(rows, cost, limit)
    affordable = [it for it in rows if COSTS[cost](it) <= limit]
    assert (best is None) == (not affordable)
    if best is not None:
        assert best in affordable
        assert best["latent_psnr_db"] == max(it["latent_psnr_db"] for it in affordable)
        cheapest = cheapest_reaching(rows, cost, best["latent_psnr_db"])
        assert COSTS[cost](cheapest) <= COSTS[cost](best)
