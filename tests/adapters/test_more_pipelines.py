"""More of diffusers' pipelines, beside an oracle: a cache that knows nothing of this package."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack
from functools import partial, wraps
from typing import Any
from unittest.mock import patch

import pytest
import torch
from torch.utils import _pytree as pytree

import forecastcache as fc
from forecastcache.registry import adapter_for

from ..conftest import SITES
from . import (
    more_pipelines_image,
    more_pipelines_newer,
    more_pipelines_newer_video,
    more_pipelines_video,
)
from .more_pipelines_image import flux2_klein_with_kept_keys
from .more_pipelines_newer_video import anyflow_by_chunks
from .pipelines import Case, run

pytestmark = pytest.mark.slow

EVERY_THIRD = fc.Every(3, first=2)
LINE = fc.Taylor(order=1)
# Of the way from the plain run to the oracle: they round otherwise, and 2e-5 at most was seen.
CLOSE = 1e-3


FILES = (
    more_pipelines_image,
    more_pipelines_newer,
    more_pipelines_newer_video,
    more_pipelines_video,
)
CASES = {name: case for file in FILES for name, case in file.CASES.items()}


@pytest.fixture(scope="module")
def shared(request: Any) -> Iterator[tuple[Case, torch.Tensor]]:
    """A pipeline for the tests of all sites, and its plain run, which is the same after them."""
    case = CASES[request.param]()
    plain = run(case.pipe, case.request)
    yield case, plain
    assert torch.equal(run(case.pipe, case.request), plain)


def scheduled(case: Case, site: str) -> list[int]:
    return sorted({*EVERY_THIRD.computed(case.steps), *case.begins_at(site)})


class Oracle:
    """The line through the two newest computed outputs, by the scheduler's steps alone.

    Calls of one step are told apart by their order.
    """

    def __init__(self, computed: list[int]) -> None:
        self._computed = computed
        self._kept: dict[int, list[tuple[int, Any]]] = {}
        self.begin()

    def begin(self) -> None:
        self._step = self._order = 0
        self._kept.clear()

    def end_step(self) -> None:
        self._step, self._order = self._step + 1, 0

    def call(self, forward: Callable[..., Any], *args: Any, **kwargs: Any) -> Any:
        kept = self._kept.setdefault(self._order, [])
        self._order += 1
        if self._step in self._computed or not kept:
            output = forward(*args, **kwargs)
            kept[:] = [*kept[-1:], (self._step, output)]
            return output
        if len(kept) == 1:
            return kept[0][1]
        (before, old), (newest, new) = kept
        ahead = (self._step - newest) / (newest - before)
        leaves, nest = pytree.tree_flatten(new)
        pairs = zip(pytree.tree_leaves(old), leaves, strict=True)
        line = [b + ahead * (b - a) if torch.is_tensor(b) else b for a, b in pairs]
        return pytree.tree_unflatten(line, nest)


def by_oracle(case: Case) -> torch.Tensor:
    oracle = Oracle(scheduled(case, "output"))
    scheduler = case.pipe.scheduler
    kind = type(scheduler)
    step, set_timesteps = kind.step, kind.set_timesteps

    # On the class: some pipelines copy their scheduler, and what stood on it would count twice.
    @wraps(step)
    def counted(own: Any, *args: Any, **kwargs: Any) -> Any:
        if own is scheduler:
            oracle.end_step()
        return step(own, *args, **kwargs)

    @wraps(set_timesteps)
    def begun(own: Any, *args: Any, **kwargs: Any) -> Any:
        if own is scheduler:
            oracle.begin()
        return set_timesteps(own, *args, **kwargs)

    with ExitStack() as stack:
        stack.enter_context(patch.object(kind, "step", counted))
        stack.enter_context(patch.object(kind, "set_timesteps", begun))
        for model in case.models:
            call = partial(oracle.call, model.forward)
            stack.enter_context(patch.object(model, "forward", call))
        return run(case.pipe, case.request)


@pytest.mark.parametrize("site", SITES)
@pytest.mark.parametrize("shared", CASES, indirect=True)
def test_every_pipeline_at_every_site(shared, site):
    case, plain = shared
    pipe, request = case.pipe, case.request
    if site not in adapter_for(case.models[0]).granularities:
        pytest.skip("the record has no such site")
    with fc.attach(pipe, fc.Every(1), LINE, site=site):
        assert torch.equal(run(pipe, request), plain)

    with fc.attach(pipe, EVERY_THIRD, LINE, site=site) as session:
        forecast = run(pipe, request)
        report = session.report()
        assert torch.equal(run(pipe, request), forecast)
    assert [*report.computed] == scheduled(case, site)
    assert {call.step.index for call in report.calls} == {*range(case.steps)}
    assert report.cache_bytes == report.cache_bytes_planned > 0
    assert forecast.shape == plain.shape
    assert forecast.isfinite().all()
    assert not torch.equal(forecast, plain)
    assert not any("forward" in model.__dict__ for model in case.models)
    if site == "output":
        expected = by_oracle(case)
        away = (expected - plain).abs().max()
        assert away > 0
        assert (forecast - expected).abs().max() < CLOSE * away


@pytest.mark.parametrize("site", SITES)
def test_calls_that_keep_keys_and_values_forecast_none_that_read_them(site):
    """Their features have other tokens; the mode of a call is in a word, not in its tensors."""
    case = flux2_klein_with_kept_keys()
    plain = run(case.pipe, case.request)
    with fc.attach(case.pipe, fc.Every(1), LINE, site=site):
        assert torch.equal(run(case.pipe, case.request), plain)
    with fc.attach(case.pipe, fc.Every(3, first=1), LINE, site=site) as session:
        forecast = run(case.pipe, case.request)
        report = session.report()
    assert report.computed == (0, 1, 3, 6)
    assert forecast.isfinite().all()
    assert not torch.equal(forecast, plain)


@pytest.mark.parametrize("site", SITES)
def test_a_video_made_by_chunks_has_a_trajectory_for_each(site, monkeypatch):
    """The pipeline notes the steps of all chunks as their number."""
    monkeypatch.setenv("TORCHDYNAMO_DISABLE", "1")
    case = anyflow_by_chunks()
    plain = run(case.pipe, case.request)
    with fc.attach(case.pipe, fc.Every(1), LINE, site=site):
        assert torch.equal(run(case.pipe, case.request), plain)
    calls = []
    with fc.attach(case.pipe, fc.Every(3, last=1), LINE, site=site) as session:
        forecast = run(
            case.pipe,
            case.request,
            callback_on_step_end=lambda *given: calls.append(session.calls[-1]) or given[-1],
        )
        again = run(case.pipe, case.request)
    assert case.pipe.num_timesteps == 3 * case.steps
    assert [call.step.index for call in calls] == [*range(case.steps)] * 3
    assert {call.step.total for call in calls} == {case.steps}
    computed = [call.step.index for call in calls if call.was_computed]
    assert computed == [*fc.Every(3, last=1).computed(case.steps)] * 3
    assert torch.equal(again, forecast)
    assert forecast.isfinite().all()
    assert not torch.equal(forecast, plain)
