"""check_adapter: what every adapter must do, ours and anybody's."""

from __future__ import annotations

import copy
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import replace
from itertools import chain
from typing import Any

import torch
from torch import nn

from forecastcache._util.nests import tensors_in
from forecastcache.engine.attach import attach
from forecastcache.errors import AttachError, ConformanceError
from forecastcache.granularity import Granularity
from forecastcache.memory.shapes import in_dtype
from forecastcache.predictors.reuse import Reuse
from forecastcache.registry import adapter_for
from forecastcache.schedule import Every, Listed
from forecastcache.testing.partly_computed import HALF, check_a_span_rests, check_no_tokens, spans
from forecastcache.testing.requirement import require
from forecastcache.testing.stream_order import check_stream_order
from forecastcache.testing.subject import (
    CLOSE,
    SCHEDULE,
    TIMES,
    Subject,
)
from forecastcache.testing.watched import running, traces

DTYPES = (torch.float32, torch.bfloat16)


def check_adapter(
    model: nn.Module, arguments: Mapping[str, Any], other: Mapping[str, Any] | None = None
) -> None:
    """Hold the adapter that serves `model` to its contract, at each of its sites.

    Where it names a trunk, also at the span of all blocks but the last; where it says which
    modules treat tokens one by one, with none of them and half of them computed.

    The model is copied, once in float32 and once in bfloat16, and called some hundred times: give
    a small one, with random weights.

    Args:
        model: a model of a class that the adapter serves, in evaluation mode.
        arguments: the inputs of one call, by name. The time may be left out where it is one
            number a sample, 1000 at first; else give the first step's, whose shape and scale the
            others take.
        other: arguments that the other branch of guidance has instead, such as other prompt
            embeddings; None checks no branches.

    Raises:
        ConformanceError: naming the site, what was done and what came of it, which is an
            AssertionError.
    """
    adapter = adapter_for(model)
    for dtype in DTYPES:
        given = in_dtype(dict(arguments), dtype), in_dtype(other and dict(other), dtype)
        with torch.no_grad():
            cast = _callable([Subject(it, adapter, *given) for it in _in(dtype, model)], dtype)
            check_stream_order(cast)
            for site in adapter.granularities:
                for check in CHECKS:
                    check(cast, HALF if site == "tokens" else site)
            for span in spans(cast):
                for check in CHECKS_OF_A_SPAN:
                    check(cast, span)
            if "tokens" in adapter.granularities:
                check_no_tokens(cast)


def _callable(subjects: Sequence[Subject], dtype: torch.dtype) -> Subject:
    """The first that can be called; some models need the time in the dtype of their weights."""
    dtypes = dict.fromkeys((torch.float32, dtype))
    tried = [replace(it, times_in=times) for it in subjects for times in dtypes]
    for subject in tried[:-1]:
        with suppress(ConformanceError):
            subject.require_callable()
            return subject
    tried[-1].require_callable()
    return tried[-1]


def _in(dtype: torch.dtype, model: nn.Module) -> list[nn.Module]:
    """Copies of a model in a dtype: as diffusers loads its class, else all of it."""
    whole = copy.deepcopy(model).to(dtype)
    kept = {*(getattr(model, "_keep_in_fp32_modules", None) or ())}
    if not kept or dtype is torch.float32:
        return [whole]
    loaded = copy.deepcopy(whole)
    for path, parameter in loaded.named_parameters():
        if not kept.isdisjoint(path.split(".")):
            parameter.data = parameter.data.float()
    return [loaded, whole]


def _check_all_computed_is_identical(model: Subject, site: Granularity) -> None:
    """A schedule that computes every step changes no bit."""
    plain = model.run(*model.branches)
    with model.attach(site, Every(1)):
        computed = model.run(*model.branches)
    require(
        all(map(torch.equal, plain, computed)),
        f"{model}, site {site!r}: with every step computed the output differs from the plain one",
    )


def _check_nothing_is_left(model: Subject, site: Granularity) -> None:
    """After detach the model is as it was, also after a call that failed."""
    before = traces(model.module)
    with model.attach(site):
        model.run(*model.branches)
        during = traces(model.module)
    after = traces(model.module)
    require(after == before, f"{model}, site {site!r}: detach left traces: {before ^ after}")
    left = {trace for trace in during ^ before if trace != ("", "forward")}
    require(not left, f"{model}, site {site!r}: between calls the model holds {left}")
    try:
        with model.attach(site):
            model.module(nonsense=1)
    except Exception:
        after = traces(model.module)
    require(after == before, f"{model}, site {site!r}: a failed call left {before ^ after}")


def _check_forecast_steps_rest(model: Subject, site: Granularity) -> None:
    """A forecast step runs nothing at `output`, and no block at `hidden` and `block`."""
    if site not in ("output", "hidden", "block"):
        return
    with running(model, site) as count, model.attach(site):
        ran = []
        for time in TIMES:
            before = len(count)
            model.call(time, {})
            ran.append(len(count) > before)
    computed = SCHEDULE.computed(len(TIMES))
    busy = [index for index, did in enumerate(ran) if did and index not in computed]
    require(not busy, f"{model}, site {site!r}: the forecast steps {busy} ran blocks")
    idle = [index for index in computed if not ran[index]]
    require(not idle, f"{model}, site {site!r}: the computed steps {idle} ran none")


def _check_forecasts_stand_for_what_they_replace(model: Subject, site: Granularity) -> None:
    """A call hardly later than a computed one, its features reused, returns what that one did."""
    with attach(model.module, Listed([0]), Reuse(), site=site):
        computed, reused = (
            tensors_in(model.call(time, {}))[0] for time in (TIMES[0], model.hardly_later)
        )
    error = float((computed - reused).abs().max() / computed.abs().max())
    require(
        error < CLOSE,
        f"{model}, site {site!r}: with its features reused a call differs by {error:.2g} of the "
        "output from the one that computed them: some of what they stand for is not replaced",
    )


def _check_forecasts_look_like_outputs(model: Subject, site: Granularity) -> None:
    """Forecast outputs are finite, of the type, shape and dtype of computed ones."""
    for return_dict in (True, False):
        plain = model.call(TIMES[0], {}, return_dict=return_dict)
        with model.attach(site):
            forecast = [model.call(time, {}, return_dict=return_dict) for time in TIMES][-1]
        kinds = [
            (type(output), [(x.shape, x.dtype, bool(x.isfinite().all())) for x in tensors])
            for output in (plain, forecast)
            for tensors in [tensors_in(output)]
        ]
        require(
            kinds[0] == kinds[1],
            f"{model}, site {site!r}, return_dict={return_dict}: a computed call returns "
            f"{kinds[0]}, a forecast one {kinds[1]}",
        )


def _check_branches_never_mix(model: Subject, site: Granularity) -> None:
    """Two branches, called in turn, are forecast as each is alone."""
    if model.other is None:
        return
    alone = []
    for branch in model.branches:
        with model.attach(site):
            alone.append(model.run(branch))
    with model.attach(site):
        in_turn = model.outputs(*model.branches)
    same = all(
        torch.equal(x, y)
        for branch, outputs in enumerate(alone)
        for x, y in zip(outputs, chain(*in_turn[branch :: len(alone)]), strict=True)
    )
    require(same, f"{model}, site {site!r}: a branch is forecast from what the other computed")
    require(
        not all(map(torch.equal, *alone)),
        f"{model}, site {site!r}: both branches compute the same: give `other` other conditions",
    )


def _check_runs_start_afresh(model: Subject, site: Granularity) -> None:
    """A second run, and one after a run that was abandoned and reset, equal the first."""
    with model.attach(site) as session:
        first, second = model.run({}), model.run({})
        for time in TIMES[:3]:
            model.call(time, {})
        session.reset()
        third = model.run({})
    require(
        all(map(torch.equal, first, second)) and all(map(torch.equal, first, third)),
        f"{model}, site {site!r}: a run depends on the one before it",
    )


def _check_life_of_a_session(model: Subject, site: Granularity) -> None:
    """Attached, refused a second time, run, detached twice; its report tells what it did.

    The bytes planned from shapes are the bytes held.
    """
    session = model.attach(site)
    try:
        model.attach(site).detach()
        refused = False
    except AttachError:
        refused = True
    model.run(*model.branches)
    attached = session.attached
    session.detach()
    session.detach()
    report = session.report()
    require(refused, f"{model}, site {site!r}: a second session was let in")
    require(
        attached and not session.attached and f"site {site}" in str(report),
        f"{model}, site {site!r}: the session does not tell its state: {report}",
    )
    require(
        report.computed == SCHEDULE.computed(len(TIMES)),
        f"{model}, site {site!r}: {SCHEDULE} computed {report.computed}",
    )
    require(
        len({call.branch for call in report.calls}) == len(model.branches),
        f"{model}, site {site!r}: the calls of a step were not told apart",
    )
    require(
        report.cache_bytes == report.cache_bytes_planned,
        f"{model}, site {site!r}: {report.cache_bytes_planned} bytes were planned and "
        f"{report.cache_bytes} held",
    )


CHECKS: tuple[Callable[[Subject, Granularity], None], ...] = (
    _check_all_computed_is_identical,
    _check_nothing_is_left,
    _check_forecast_steps_rest,
    _check_forecasts_stand_for_what_they_replace,
    _check_forecasts_look_like_outputs,
    _check_branches_never_mix,
    _check_runs_start_afresh,
    _check_life_of_a_session,
)
CHECKS_OF_A_SPAN = (
    _check_all_computed_is_identical,
    check_a_span_rests,
    _check_forecasts_stand_for_what_they_replace,
    _check_life_of_a_session,
)
