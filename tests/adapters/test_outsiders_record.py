"""A record for a class of somebody's own, as docs/models/index.md writes it."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
import torch

import forecastcache as fc
from forecastcache.registry import ADAPTERS, adapter_for

from ..conftest import SITES
from ..test_docs import DOCS, fences

PAGE = dict(fences(DOCS / "models" / "index.md", "python"))


@pytest.fixture
def studio() -> Iterator[dict[str, Any]]:
    """What the page defines of the model and its record, as a module of that name."""
    space: dict[str, Any] = {"__name__": "studio"}
    try:
        for title in ("the model", "the record"):
            exec(compile(PAGE[title], "studio.py", "exec"), space)
        yield space
    finally:
        ADAPTERS._added.pop("painter", None)


def test_a_record_takes_at_most_15_lines():
    assert 0 < len(PAGE["the record"].partition("\n\n")[2].splitlines()) <= 15


def test_the_record_of_the_page_conforms(studio):
    exec(compile(PAGE["the check"], "check.py", "exec"), studio)


@pytest.mark.parametrize("site", SITES)
@torch.no_grad()
def test_the_record_of_the_page_serves_every_site(studio, site):
    model = studio["Painter"]().eval()
    assert adapter_for(model).name == "painter"
    given = {"words": torch.randn(2, 5, 32)}
    samples = {
        900.0: torch.randn(2, 9, 4),
        700.0: torch.randn(2, 9, 4),
        500.0: torch.randn(2, 9, 4),
    }

    def call(time: float) -> torch.Tensor:
        return model(samples[time], torch.full((2,), time), **given)

    plain = [call(time) for time in samples]
    with fc.attach(model, "every:5,first=2", "taylor:order=1", site=site) as session:
        *computed, forecast = [call(time) for time in samples]
        report = session.report()
    assert report.computed == (0, 1)
    assert report.cache_bytes == report.cache_bytes_planned > 0
    assert all(map(torch.equal, computed, plain))
    assert not torch.equal(forecast, plain[-1])
    counts = {"output": 1, "hidden": 1, "block": 3, "module": 6}
    assert len(adapter_for(model).sites(model, site)) == counts[site]
