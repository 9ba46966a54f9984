"""Session: a predictor, a schedule and an adapter at work on a model."""

from __future__ import annotations

import inspect
import weakref
from collections.abc import Callable
from time import perf_counter
from typing import Any, Literal

import torch
from torch import Tensor, nn
from torch.utils import _pytree as pytree

from forecastcache.accountant import Rehearsal, measured_bytes, rehearse, shapes_of
from forecastcache.adapter import Adapter, Granularity
from forecastcache.branch import Branch
from forecastcache.clock import Clock, Tick
from forecastcache.errors import AttachError, NotFiniteError
from forecastcache.history import History
from forecastcache.patch import Forward, Patch
from forecastcache.predictor import Predictor
from forecastcache.registry import adapter_for
from forecastcache.report import Call, Report
from forecastcache.schedule import Schedule
from forecastcache.step import Step
from forecastcache.taps import Taps


class Session:
    """A predictor, a schedule and an adapter attached to a model; made by `attach`.

    It owns all state. Nothing is patched on a class, so sessions do not see each other.

    Attributes:
        adapter: that serves the model.
        schedule: as given.
        predictor: as given.
        site: granularity.
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
        self.adapter: Adapter = adapter_for(model)
        self.schedule = schedule
        self.predictor = predictor
        self.site = site
        self._model = weakref.ref(model)
        self._model_name = type(model).__name__
        self._dtype = dtype
        self._offload = offload
        self._not_finite = not_finite
        self._time = self.adapter.time_argument(model)
        self._signature = inspect.signature(model.forward)
        self._taps: Taps | None = Taps(model, self.adapter, site)
        self._clock = Clock(pipeline)
        self._branches: dict[int, Branch] = {}
        self._calls: list[Call] = []
        self._cache_bytes = 0
        self._arguments: Any = None
        self._require_needs()
        self._patch: Patch | None = Patch(model, self._call, repr(self))

    @property
    def attached(self) -> bool:
        """Whether calls of the model come through here."""
        return self._taps is not None

    def detach(self) -> None:
        """Restore the model and let go of it and of all features; a second call does nothing."""
        model = self._model()
        if self._taps is not None and self._patch is not None and model is not None:
            self._taps.restore()
            self._patch.remove(model)
        self._taps = self._patch = None
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
            model=self._model_name,
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
        return f"Session({self.schedule}, {self.predictor}, site={self.site!r})"

    def _call(self, forward: Forward, args: Any, kwargs: Any) -> Any:
        """One call of the model: find its step, decide, compute or forecast."""
        try:
            started = perf_counter()
            step, key = self._place(args, kwargs)
            branch = self._branches[key]
            output, computed = None, self._must_compute(step, branch)
            if not computed:
                output = self._forecast(step, branch, forward, args, kwargs)
                computed = output is None
            if computed:
                output = self._compute(step, branch, forward, args, kwargs)
            self._calls.append(Call(step, key, computed, perf_counter() - started))
            if _is_last(step):
                self._branches.pop(key, None)
            return output
        except BaseException:
            self.reset()
            raise

    def _require_needs(self) -> None:
        if self.predictor.total is not None:
            self._check_trajectory(self.predictor.total)
        if "logsnr" in self.predictor.needs and not self._clock.tells_logsnr:
            raise AttachError(
                f"{self.predictor} needs the noise level of each step, which no scheduler tells "
                "here: attach a pipeline whose scheduler knows it, or use coordinate='time'"
            )
        if "grid" in self.predictor.needs and self.adapter.grid is None and self.site != "output":
            raise AttachError(
                f"{self.predictor} needs the layout of the tokens, which the adapter "
                f"{self.adapter.name!r} does not tell: use site='output', or give it a grid"
            )

    def _place(self, args: Any, kwargs: Any) -> tuple[Step, int]:
        """The step of a call and the number of its branch; what is new starts empty."""
        given = self._signature.bind(*args, **kwargs).arguments
        time = given.get(self._time)
        tensors = {n: x for n, x in given.items() if isinstance(x, Tensor) and n != self._time}
        if time is None or not tensors:
            raise AttachError(
                f"{self._model_name} was called without "
                f"{self._time if time is None else 'a tensor'}: forecasting needs it at every call"
            )
        sample, *conditions = tensors.values()
        # Where the tokens have times of their own, those of given frames are 0.
        tick = self._clock.tick(float(torch.as_tensor(time).max()), sample)
        if tick.starts:
            self._branches.clear()
            self._calls.clear()
            self._cache_bytes = 0
            self._arguments = shapes_of((args, kwargs))
            if tick.step.total is not None:
                self._check_trajectory(tick.step.total)
        key = self._branch_of(tick, conditions)
        likeness = _likeness(args, kwargs, given.get("return_dict"))
        if key not in self._branches or self._branches[key].likeness != likeness:
            self._branches[key] = Branch(self._history_maker(given), likeness)
        branch = self._branches[key]
        branch.conditions = conditions
        branch.state.sample = sample
        return tick.step, key

    def _check_trajectory(self, total: int) -> None:
        self.schedule.check(total)
        self.predictor.check(total, self.schedule.foreseen(total))

    def _branch_of(self, tick: Tick, conditions: list[Tensor]) -> int:
        """Branches are told by position in the step, but one may have been switched off.

        So a call that carries the conditions of another branch, and not those of the branch at
        its position, is of that other one.
        """
        at_position = self._branches.get(tick.position)
        if at_position is None or at_position.carries(conditions):
            return tick.position
        others = (key for key, each in self._branches.items() if each.carries(conditions))
        return next(others, tick.position)

    def _must_compute(self, step: Step, branch: Branch) -> bool:
        branch.state.computed = branch.steps
        wanted = self.schedule.compute(step, branch.state)
        branch.state.sample = None
        return wanted or len(branch.steps) < self.predictor.minimum

    def _compute(
        self, step: Step, branch: Branch, forward: Forward, args: Any, kwargs: Any
    ) -> Any:
        branch.compute(None if _is_last(step) else step)
        output = self._run(branch, forward, args, kwargs)
        held = (history for each in self._branches.values() for history in each.histories())
        self._cache_bytes = max(self._cache_bytes, measured_bytes(held))
        return output

    def _forecast(
        self, step: Step, branch: Branch, forward: Forward, args: Any, kwargs: Any
    ) -> Any:
        """The forecast output; None if it is not finite and is to be computed instead."""
        branch.fill_in(self.predictor.prepare(branch.steps, step))
        output = self._run(branch, forward, args, kwargs)
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

    def _history_maker(self, given: dict[str, Any]) -> Callable[[], History]:
        depth, dtype, device, grid = self.predictor.depth, self._dtype, self._offload, None
        if self.adapter.grid is not None and "grid" in self.predictor.needs:
            grid = self.adapter.grid(given, getattr(self._model(), "config", None))
        return lambda: History(depth, dtype, device, grid)

    def _run(self, branch: Branch, forward: Forward, args: Any, kwargs: Any) -> Any:
        model = self._model()
        assert self._taps is not None
        assert model is not None
        return self._taps.call(model, branch, forward, args, kwargs)

    def _rehearse(self) -> Rehearsal | None:
        model = self._model()
        if model is None or self._arguments is None:
            return None
        try:
            return rehearse(model, self.adapter, self.site, *self._arguments)
        except Exception:
            # A model that reads its data on the way cannot do without; the run itself was well.
            return None


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
