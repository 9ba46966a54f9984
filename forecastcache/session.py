"""attach() and Session: a predictor, a schedule and an adapter at work on a model."""

from __future__ import annotations

import inspect
from time import perf_counter
from typing import Any, Literal

import torch
from torch import Tensor, nn
from torch.utils import _pytree as pytree

from forecastcache.accountant import Rehearsal, measured_bytes, rehearse, shapes_of
from forecastcache.adapter import GRANULARITIES, Adapter, Granularity
from forecastcache.branch import Branch
from forecastcache.clock import Clock, Tick
from forecastcache.errors import AttachError, NotFiniteError
from forecastcache.history import History
from forecastcache.patch import Patch, active_patch
from forecastcache.predictor import Predictor
from forecastcache.registry import adapter_for
from forecastcache.report import Call, Report
from forecastcache.schedule import Schedule
from forecastcache.step import Step
from forecastcache.taps import Taps

DENOISERS = ("transformer", "unet")


def attach(
    target: Any,
    schedule: Schedule,
    predictor: Predictor,
    *,
    site: Granularity = "output",
    dtype: torch.dtype | None = None,
    offload: Literal["cpu"] | None = None,
    not_finite: Literal["raise", "recompute"] = "raise",
) -> Session:
    """Forecast the steps that `schedule` leaves out, from now until `detach`.

    Everything is checked before the model is touched. Works as a context manager:

        with fc.attach(pipe, fc.Every(5, first=3), fc.Taylor(order=1)) as session:
            image = pipe(...).images[0]
        print(session.report())

    Args:
        target: a diffusers pipeline, or a bare model whose forward takes a timestep.
        schedule: which steps are computed.
        predictor: how the others are filled in.
        site: what is forecast: the model's `output`, the `hidden` input of its final layer,
            each `block`'s residual or each `module`'s output (attention, MLP).
        dtype: the histories' storage dtype; None keeps the features' own.
        offload: `cpu` keeps the histories in (pinned) host memory.
        not_finite: what to do about a forecast with NaN or infinity: raise or compute the step.

    Raises:
        AttachError: the target has no model to attach to, the model takes no timestep, its
            adapter lacks the site, or the model is attached already.
    """
    for role, thing, kind in (
        ("schedule", schedule, Schedule),
        ("predictor", predictor, Predictor),
    ):
        if not isinstance(thing, kind):
            raise AttachError(
                f"the {role} given is {thing!r}: write attach(pipe, schedule, predictor), "
                "such as attach(pipe, Every(5, first=3), Taylor(order=1))"
            )
    _require("site", site, GRANULARITIES)
    _require("offload", offload, (None, "cpu"))
    _require("not_finite", not_finite, ("raise", "recompute"))
    if dtype is not None and not dtype.is_floating_point:
        raise AttachError(f"dtype={dtype} stores no features: use a floating-point dtype")
    model, pipeline = _denoiser(target)
    patch = active_patch(model)
    if patch is not None:
        raise AttachError(
            f"this {type(model).__name__} is attached already, to {patch.owner()}: "
            "detach that session first"
        )
    return Session(model, pipeline, schedule, predictor, site, dtype, offload, not_finite)


class Session:
    """A predictor, a schedule and an adapter attached to a model; made by `attach`.

    It owns all state. Nothing is patched on a class, so sessions do not see each other.

    Attributes:
        model: that is attached to.
        adapter: that serves it.
        schedule: as given.
        predictor: as given.
        site: granularity.
        attached: whether calls of the model come through here.
    """

    def __init__(
        self,
        model: nn.Module,
        pipeline: object | None,
        schedule: Schedule,
        predictor: Predictor,
        site: Granularity,
        dtype: torch.dtype | None,
        offload: Literal["cpu"] | None,
        not_finite: Literal["raise", "recompute"],
    ) -> None:
        self.model = model
        self.adapter: Adapter = adapter_for(model)
        self.schedule = schedule
        self.predictor = predictor
        self.site = site
        self._dtype = dtype
        self._offload = offload
        self._not_finite = not_finite
        self._time = self.adapter.time_argument(model)
        self._signature = inspect.signature(model.forward)
        self._taps = Taps(model, self.adapter, site)
        self._clock = Clock(pipeline)
        self._branches: dict[int, tuple[Any, Branch]] = {}
        self._calls: list[Call] = []
        self._cache_bytes = 0
        self._arguments: Any = None
        self._patch = Patch(model, self._call, self.__repr__)
        self.attached = True

    def detach(self) -> None:
        """Restore the model and let go of all features; a second call does nothing."""
        if self.attached:
            self.attached = False
            self._patch.remove(self.model)
            self.reset()

    def reset(self) -> None:
        """Let go of all features; the next call opens a trajectory."""
        self._branches.clear()
        self._clock.reset()

    def report(self) -> Report:
        """What the newest trajectory did, so far or in full; also after `detach`."""
        rehearsal = self._rehearse()
        branches = len({call.branch for call in self._calls})
        planned = (
            None
            if rehearsal is None
            else rehearsal.planned_bytes(self.predictor.depth, branches, self._dtype)
        )
        return Report(
            model=type(self.model).__name__,
            site=self.site,
            schedule=str(self.schedule),
            predictor=str(self.predictor),
            calls=tuple(self._calls),
            cache_bytes=self._cache_bytes,
            cache_bytes_planned=planned,
            rehearsal=rehearsal,
        )

    def __enter__(self) -> Session:
        return self

    def __exit__(self, *exception: object) -> None:
        self.detach()

    def __repr__(self) -> str:
        state = "attached" if self.attached else "detached"
        return f"Session({self.schedule}, {self.predictor}, site={self.site!r}, {state})"

    def _call(self, args: Any, kwargs: Any) -> Any:
        """One call of the model: find its step, decide, compute or forecast."""
        try:
            started = perf_counter()
            tick, branch = self._place(args, kwargs)
            output, computed = None, self._must_compute(tick.step, branch)
            if not computed:
                output = self._forecast(tick.step, branch, args, kwargs)
                computed = output is None
            if computed:
                output = self._compute(tick.step, branch, args, kwargs)
            self._calls.append(Call(tick.step, tick.branch, computed, perf_counter() - started))
            if _is_last(tick.step):
                self._branches.pop(tick.branch)
            return output
        except BaseException:
            self.reset()
            raise

    def _place(self, args: Any, kwargs: Any) -> tuple[Tick, Branch]:
        """The step and branch of a call; a trajectory or branch that is new starts empty."""
        given = self._signature.bind(*args, **kwargs).arguments
        time = given.get(self._time)
        sample = next((value for value in given.values() if isinstance(value, Tensor)), None)
        if time is None or sample is None:
            raise AttachError(
                f"{type(self.model).__name__} was called without "
                f"{self._time if time is None else 'a tensor'}: forecasting needs it at every call"
            )
        # Where the tokens have times of their own, those of given frames are 0.
        tick = self._clock.tick(float(torch.as_tensor(time).max()), sample)
        if tick.starts:
            self._branches.clear()
            self._calls.clear()
            self._cache_bytes = 0
            self._arguments = shapes_of((args, kwargs))
            if tick.step.total is not None:
                self.schedule.check(tick.step.total)
        likeness = _likeness(args, kwargs, given.get("return_dict"))
        known, branch = self._branches.get(tick.branch, (None, None))
        if branch is None or known != likeness:
            branch = Branch(self._new_history)
            self._branches[tick.branch] = likeness, branch
        branch.state.sample = sample
        return tick, branch

    def _must_compute(self, step: Step, branch: Branch) -> bool:
        branch.state.computed = branch.steps
        wanted = self.schedule.compute(step, branch.state)
        branch.state.sample = None
        return wanted or len(branch.steps) < self.predictor.minimum

    def _compute(self, step: Step, branch: Branch, args: Any, kwargs: Any) -> Any:
        branch.compute(None if _is_last(step) else step)
        output = self._taps.call(branch, self._patch.original, args, kwargs)
        held = (history for _, each in self._branches.values() for history in each.histories())
        self._cache_bytes = max(self._cache_bytes, measured_bytes(held))
        return output

    def _forecast(self, step: Step, branch: Branch, args: Any, kwargs: Any) -> Any:
        """The forecast output; None if it is not finite and is to be computed instead."""
        branch.fill_in(self.predictor.prepare(branch.steps, step))
        output = self._taps.call(branch, self._patch.original, args, kwargs)
        if _is_finite(output):
            return output
        if self._not_finite == "recompute":
            return None
        kept = (feature for history in branch.histories() for feature in history.features)
        cause = (
            f"{self.predictor} left the range of the dtype"
            if all(_is_finite(feature) for feature in kept)
            else "the model itself computed NaN or infinity"
        )
        raise NotFiniteError(
            f"the forecast of step {step.index} is not finite: {cause}; "
            "use not_finite='recompute', a lower order or a wider dtype"
        )

    def _new_history(self) -> History:
        return History(self.predictor.depth, self._dtype, self._offload)

    def _rehearse(self) -> Rehearsal | None:
        if self._arguments is None:
            return None
        try:
            return rehearse(self.model, self.adapter, self.site, *self._arguments)
        except Exception:
            # A model that reads its data on the way cannot do without; the run itself was well.
            return None


def _denoiser(target: Any) -> tuple[nn.Module, object | None]:
    if isinstance(target, nn.Module):
        return target, None
    for name in DENOISERS:
        model = getattr(target, name, None)
        if isinstance(model, nn.Module):
            return model, target
    raise AttachError(
        f"{type(target).__name__} has no {' or '.join(DENOISERS)} to attach to: "
        "give a diffusers pipeline, or the model itself"
    )


def _require(option: str, value: object, known: tuple[object, ...]) -> None:
    if value not in known:
        raise AttachError(
            f"{option}={value!r} is not known: write one of {', '.join(map(repr, known))}"
        )


def _is_last(step: Step) -> bool:
    return step.total is not None and step.index >= step.total - 1


def _likeness(args: Any, kwargs: Any, return_dict: object) -> tuple[Any, ...]:
    """What two calls must share for the features of one to forecast those of the other."""
    leaves = pytree.tree_leaves((args, kwargs))
    tensors = ((x.shape, x.dtype, x.device) for x in leaves if isinstance(x, Tensor))
    return return_dict, *tensors


def _is_finite(output: Any) -> bool:
    tensors = (x for x in pytree.tree_leaves(output) if isinstance(x, Tensor))
    return all(bool(x.isfinite().all()) for x in tensors)
