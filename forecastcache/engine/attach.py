"""attach() and detach(): check everything, then make a session; end one."""

from __future__ import annotations

from typing import Any, Literal

import torch
from torch import nn

from forecastcache.engine.caller import denoisers_in
from forecastcache.engine.patch import active_patch
from forecastcache.engine.session import Session
from forecastcache.engine.setting import SessionOptions
from forecastcache.errors import AttachError, OptionError
from forecastcache.granularity import Blocks, Granularity, Tokens, as_site
from forecastcache.memory.budget import parse_budget
from forecastcache.predictor import Predictor, depth_complaint
from forecastcache.schedule import Schedule
from forecastcache.spec import parse_predictor, parse_schedule

STORAGE_DTYPES = (None, torch.float64, torch.float32, torch.bfloat16, torch.float16)


def attach(
    target: Any,
    schedule: Schedule | str,
    predictor: Predictor | str,
    *,
    site: Granularity | Blocks | Tokens = "output",
    dtype: torch.dtype | None = None,
    offload: Literal["cpu"] | None = None,
    not_finite: Literal["raise", "recompute"] = "raise",
    budget: int | str | None = None,
) -> Session:
    """Forecast the steps that `schedule` leaves out, from now until `detach`.

    Everything is checked before the model is touched. Works as a context manager:

        with fc.attach(pipe, fc.Every(5, first=3), fc.Taylor(order=1)) as session:
            image = pipe(...).images[0]
        print(session.report())

    Forecast features carry no gradient.

    Args:
        target: a diffusers pipeline, or a bare model whose forward takes a time. Attach the
            pipeline where there is one: its scheduler tells one run from the next. A bare model's
            times must fall from step to step, and `Session.reset` must be called after a run
            that was abandoned.
        schedule: the choice of steps to compute: an object, or its spec such as `every:5`.
        predictor: the forecaster of the others: an object, or its spec such as `taylor:order=1`.
        site: the feature to forecast: the model's `output`, the `hidden` input of its final layer,
            each `block`'s residual or each `module`'s output (attention, MLP). Partly computed
            are the forecast steps at `block:2-5` or `Blocks(2, 5)`, where the other blocks run,
            and at `tokens:0.1` or `Tokens(0.1)`, where a tenth of the tokens run through each
            MLP.
        dtype: storage dtype of the histories; None keeps the features' own.
        offload: `cpu` keeps the histories in (pinned) host memory.
        not_finite: the remedy for a forecast with NaN or infinity: `raise`, at the next computed
            step or the run's end, or `recompute`, for which every forecast is waited for.
        budget: bytes that the histories of a thread may hold, a number or text such as `2 GiB`.
            The call with which the plan goes over it is refused, the first one or the first of the
            second half of guidance, naming the sites and depths that fit.

    Raises:
        AttachError: the target has no model to attach to, or several, the model takes no time, its
            adapter lacks the site or what the schedule looks at, its scheduler calls it twice a
            step, or it is attached already; a predictor's depth is no whole number above 0.
        BudgetError: the budget is no number of bytes above 0.
        ForecastCacheError: a spec names nothing that is known.
    """
    schedule = parse_schedule(schedule) if isinstance(schedule, str) else schedule
    predictor = parse_predictor(predictor) if isinstance(predictor, str) else predictor
    _require_kinds(schedule, predictor)
    place = _site(site)
    _require("offload", offload, (None, "cpu"))
    _require("not_finite", not_finite, ("raise", "recompute"))
    _require("dtype", dtype, STORAGE_DTYPES)
    options = SessionOptions(dtype, offload, not_finite, parse_budget(budget))
    models, pipeline = denoisers(target)
    for model in models:
        patch = active_patch(model)
        if patch is not None:
            raise AttachError(
                f"this {type(model).__name__} is attached already, to {patch.owner}: detach that "
                "session first, or call forecastcache.detach(pipe) if its handle is lost"
            )
    return Session(models, pipeline, schedule, predictor, place, options)


def detach(target: Any) -> None:
    """End the session that a pipeline or model is attached to, whoever holds its handle.

    Does nothing where none is attached.

    Raises:
        AttachError: the target has no model.
    """
    for model in denoisers(target)[0]:
        patch = active_patch(model)
        if patch is not None and patch.owner is not None:
            patch.owner.detach()


def denoisers(target: Any) -> tuple[list[nn.Module], object | None]:
    """The models to attach to, and the pipeline that calls them.

    Raises:
        AttachError: there is none, or several that do not take turns.
    """
    if isinstance(target, nn.Module):
        return [_uncompiled(target)], None
    return [_uncompiled(model) for model in denoisers_in(target)], target


def _uncompiled(model: nn.Module) -> nn.Module:
    if hasattr(model, "_orig_mod"):
        raise AttachError(
            "the model went through torch.compile(model), whose forward hides what it takes: "
            "compile in place instead, with model.compile()"
        )
    return model


def _require_kinds(schedule: Any, predictor: Any) -> None:
    for role, thing, kind in (
        ("schedule", schedule, Schedule),
        ("predictor", predictor, Predictor),
    ):
        if not isinstance(thing, kind):
            raise AttachError(
                f"the {role} given is {thing!r}: write attach(pipe, schedule, predictor), "
                "such as attach(pipe, Every(5, first=3), Taylor(order=1))"
            )
    complaint = depth_complaint(predictor)
    if complaint:
        raise AttachError(complaint)


def _site(site: Granularity | Blocks | Tokens) -> Granularity:
    try:
        return as_site(site)
    except OptionError as error:
        raise AttachError(f"site={site!r}: {error}") from None


def _require(option: str, value: object, known: tuple[object, ...]) -> None:
    if value not in known:
        raise AttachError(
            f"{option}={value!r} is not known: write one of {', '.join(map(repr, known))}"
        )
