"""Session: a predictor, a schedule and an adapter at work on a model."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from time import perf_counter
from typing import Any, Literal

import torch
from torch import Tensor, nn
from torch.utils import _pytree as pytree

from forecastcache.accountant import Rehearsal, measured_bytes, rehearse, shapes_of
from forecastcache.adapter import Adapter, Granularity
from forecastcache.branch import Branch
from forecastcache.budget import require_budget
from forecastcache.clock import Clock, Tick
from forecastcache.errors import AttachError, NotFiniteError
from forecastcache.history import History
from forecastcache.host import Host, Reading
from forecastcache.patch import Forward
from forecastcache.predictor import Predictor
from forecastcache.registry import adapter_for
from forecastcache.report import Call, Report
from forecastcache.schedule import Schedule
from forecastcache.step import Step


class Session:
    """A predictor, a schedule and an adapter attached to a model; made by `attach`.

    It owns all state. Nothing is patched on a class, so sessions do not see each other. Where a
    pipeline has two models that take turns along a trajectory, both are attached, and each is
    forecast from what it computed itself.

    Attributes:
        adapter: that serves the model.
        schedule: as given.
        predictor: as given.
        site: granularity.
    """

    def __init__(
        self,
        models: Sequence[nn.Module],
        pipeline: object | None,
        schedule: Schedule,
        predictor: Predictor,
        site: Granularity,
        dtype: torch.dtype | None,
        offload: Literal["cpu"] | None,
        not_finite: Literal["raise", "recompute"],
        budget: int | None,
    ) -> None:
        self.adapter: Adapter = adapter_for(models[0])
        self.schedule = schedule
        self.predictor = predictor
        self.site = site
        self._dtype = dtype
        self._offload = offload
        self._not_finite = not_finite
        self._budget = budget
        self._hosts = [Host(model, self.adapter, site) for model in models]
        self._clock = Clock(pipeline)
        self._current = self._hosts[0]
        self._branches: dict[int, Branch] = {}
        self._calls: list[Call] = []
        self._cache_bytes = 0
        self._arguments: Any = None
        self._rehearsal: Rehearsal | None = None
        self._require_needs()
        for host in self._hosts:
            host.attach(partial(self._call, host), repr(self))
        self._attached = True

    @property
    def attached(self) -> bool:
        """Whether calls of the model come through here."""
        return self._attached

    def detach(self) -> None:
        """Restore the model and let go of it and of all features; a second call does nothing."""
        self._attached = False
        for host in self._hosts:
            host.detach()
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
            model=self._current.name,
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

    def _call(self, host: Host, forward: Forward, args: Any, kwargs: Any) -> Any:
        """One call of a model: find its step, decide, compute or forecast."""
        try:
            started = perf_counter()
            step, key = self._place(host, args, kwargs)
            branch = self._branches[key]
            run = partial(host.run, branch, forward, args, kwargs)
            output, computed = None, self._must_compute(step, branch)
            if not computed:
                output = self._forecast(step, branch, run)
                computed = output is None
            if computed:
                output = self._compute(step, branch, run)
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

    def _place(self, host: Host, args: Any, kwargs: Any) -> tuple[Step, int]:
        """The step of a call and the number of its branch; what is new starts empty."""
        reading = host.read(args, kwargs)
        tick = self._clock.tick(reading.time, reading.sample)
        if tick.starts:
            self._calls.clear()
            self._cache_bytes = 0
            self._arguments = self._rehearsal = None
            if tick.step.total is not None:
                self._check_trajectory(tick.step.total)
        if tick.starts or host is not self._current:
            self._branches.clear()
            self._current = host
        if self._arguments is None:
            self._arguments = shapes_of(self._as_the_model_uses_it(reading.given))
        key = self._branch_of(tick, reading.conditions)
        if key not in self._branches or self._branches[key].likeness != reading.likeness:
            self._branches[key] = Branch(self._history_maker(reading), reading.likeness)
            self._require_budget()
        branch = self._branches[key]
        branch.conditions = reading.conditions
        branch.state.sample = reading.sample
        return tick.step, key

    def _as_the_model_uses_it(self, given: dict[str, Any]) -> dict[str, Any]:
        return given if self.adapter.trim is None else {**given, **self.adapter.trim(given)}

    def _require_budget(self) -> None:
        if self._budget is None:
            return
        model, branches = self._current.model, len(self._branches)
        assert model is not None
        require_budget(
            self._budget,
            lambda site: rehearse(model, self.adapter, site, self._arguments),
            self.adapter.granularities,
            self.site,
            self.predictor.depth,
            branches,
            self._dtype,
        )

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

    def _compute(self, step: Step, branch: Branch, run: Callable[[], Any]) -> Any:
        branch.compute(None if _is_last(step) else step)
        output = run()
        held = (history for each in self._branches.values() for history in each.histories())
        self._cache_bytes = max(self._cache_bytes, measured_bytes(held))
        return output

    def _forecast(self, step: Step, branch: Branch, run: Callable[[], Any]) -> Any:
        """The forecast output; None if it is not finite and is to be computed instead."""
        branch.fill_in(self.predictor.prepare(branch.steps, step))
        output = run()
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

    def _history_maker(self, reading: Reading) -> Callable[[], History]:
        depth, dtype, device, grid = self.predictor.depth, self._dtype, self._offload, None
        if self.adapter.grid is not None and "grid" in self.predictor.needs:
            grid = self.adapter.grid(reading.given, getattr(self._current.model, "config", None))
        return lambda: History(depth, dtype, device, grid)

    def _rehearse(self) -> Rehearsal | None:
        model = self._current.model
        if model is None or self._arguments is None:
            return None
        if self._rehearsal is None:
            try:
                self._rehearsal = rehearse(model, self.adapter, self.site, self._arguments)
            except Exception:
                # A model that reads its data on the way cannot do without; the run was well.
                return None
        return self._rehearsal


def _is_last(step: Step) -> bool:
    return step.total is not None and step.index >= step.total - 1


def _is_finite(output: Any) -> bool:
    tensors = (x for x in pytree.tree_leaves(output) if isinstance(x, Tensor))
    return all(bool(x.isfinite().all()) for x in tensors)
