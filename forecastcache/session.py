"""Session: a predictor, a schedule and an adapter at work on a model."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from time import perf_counter
from typing import Any, Literal

import torch
from torch import Tensor, nn
from torch.utils import _pytree as pytree

from forecastcache.adapter import Adapter, Granularity
from forecastcache.branch import Branch, Branches
from forecastcache.clock import Clock
from forecastcache.errors import AttachError, NotFiniteError
from forecastcache.history import History
from forecastcache.host import Host, Reading
from forecastcache.ledger import Ledger
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
        self._branches = Branches()
        self._ledger = Ledger(self.adapter, predictor.depth, dtype)
        self._calls: list[Call] = []
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
        rehearsals = self._ledger.rehearse(self._current.model, self.site)
        return Report(
            model=self._current.name,
            site=self.site,
            schedule=str(self.schedule),
            predictor=str(self.predictor),
            calls=tuple(self._calls),
            cache_bytes=self._ledger.cache_bytes,
            cache_bytes_planned=self._ledger.planned_bytes(rehearsals),
            rehearsals=rehearsals,
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
            self._calls.append(Call(step, key, computed, perf_counter() - started, branch.kind))
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
            self._ledger.open()
            if tick.step.total is not None:
                self._check_trajectory(tick.step.total)
        if tick.starts or host is not self._current:
            self._branches.clear()
            self._current = host
        if tick.position == 0 and _is_last(tick.step):
            self._branches.let_go_of_idle(tick.step)
        key, carried = self._branches.find(tick, reading.conditions)
        if key not in self._branches or self._branches[key].likeness != reading.likeness:
            self._branches[key] = self._new_branch(reading)
            self._ledger.enter(self._branches.values())
            if self._budget is not None and host.model is not None:
                self._ledger.require_budget(self._budget, host.model, self.site)
        branch = self._branches[key]
        branch.meet(tick.step, reading.conditions, carried)
        branch.state.sample = reading.sample
        return tick.step, key

    def _check_trajectory(self, total: int) -> None:
        self.schedule.check(total)
        self.predictor.check(total, self.schedule.foreseen(total))

    def _must_compute(self, step: Step, branch: Branch) -> bool:
        branch.state.computed = branch.steps
        wanted = self.schedule.compute(step, branch.state)
        branch.state.sample = None
        return wanted or len(branch.steps) < self.predictor.minimum

    def _compute(self, step: Step, branch: Branch, run: Callable[[], Any]) -> Any:
        branch.compute(None if _is_last(step) else step)
        output = run()
        self._ledger.measure(self._branches.values())
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

    def _new_branch(self, reading: Reading) -> Branch:
        depth, dtype, device, grid = self.predictor.depth, self._dtype, self._offload, None
        if self.adapter.grid is not None and "grid" in self.predictor.needs:
            grid = self.adapter.grid(reading.given, getattr(self._current.model, "config", None))
        return Branch(
            lambda: History(depth, dtype, device, grid),
            reading.likeness,
            self._ledger.kind_of(reading.given),
        )


def _is_last(step: Step) -> bool:
    return step.total is not None and step.index >= step.total - 1


def _is_finite(output: Any) -> bool:
    tensors = (x for x in pytree.tree_leaves(output) if isinstance(x, Tensor))
    return all(bool(x.isfinite().all()) for x in tensors)
