"""Session: a predictor, a schedule and an adapter at work on a model."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from time import perf_counter
from typing import Any, Literal

import torch
from torch import nn
from torch.utils import _pytree as pytree

from forecastcache.adapter import Adapter, Granularity
from forecastcache.engine.at_work import AtWork
from forecastcache.engine.branches import Branch, Branches, CallRecorder, Decision
from forecastcache.engine.call import AttachedModel, ModelCall
from forecastcache.engine.checked import ask, prepare, require_no_forecast_at_work
from forecastcache.engine.clock import Clock, Position
from forecastcache.engine.finite import FiniteCheck, is_finite
from forecastcache.engine.patch import Forward
from forecastcache.engine.report import CallRecord, Report
from forecastcache.errors import AttachError, NotFiniteError
from forecastcache.history import History, is_feature
from forecastcache.memory.accountant import Accountant
from forecastcache.predictor import Predictor
from forecastcache.registry import adapter_for
from forecastcache.schedule import Schedule, State
from forecastcache.step import Step


@dataclass(frozen=True)
class SessionOptions:
    """How a session keeps features and what it does about trouble; see `attach`."""

    dtype: torch.dtype | None = None
    offload: Literal["cpu"] | None = None
    not_finite: Literal["raise", "recompute"] = "raise"
    budget: int | None = None


class Session:
    """A predictor, a schedule and an adapter attached to a model; made by `attach`.

    It owns all state. Nothing is patched on a class, so sessions do not see each other. Where a
    pipeline has two models that take turns along a trajectory, both are attached, and each is
    forecast from what it computed itself.

    Attributes:
        adapter: record that serves the model.
        schedule: schedule as given.
        predictor: predictor as given.
        site: granularity of what is forecast.
    """

    def __init__(
        self,
        models: Sequence[nn.Module],
        pipeline: object | None,
        schedule: Schedule,
        predictor: Predictor,
        site: Granularity,
        options: SessionOptions,
    ) -> None:
        self.adapter: Adapter = adapter_for(models[0])
        self.schedule = schedule
        self.predictor = predictor
        self.site = site
        self._options = options
        signals = sorted(schedule.needs - {"output"})
        self._models = [AttachedModel(model, self.adapter, site, signals) for model in models]
        self._clock = Clock(pipeline)
        self._at_work = AtWork(predictor, schedule)
        self._current = self._models[0]
        self._branches = Branches()
        self._finite = FiniteCheck()
        self._accountant = Accountant(self.adapter, predictor.depth, options.dtype)
        self._calls: list[CallRecord] = []
        self._require_needs()
        for model in self._models:
            model.attach(partial(self._call, model), self)
        self._attached = True

    @property
    def attached(self) -> bool:
        """Whether calls of the model come through here."""
        return self._attached

    def detach(self) -> None:
        """Restore the model and let go of it and of all features; a second call does nothing.

        Raises:
            NotFiniteError: a forecast was not finite, and nobody had looked yet.
        """
        self._attached = False
        for model in self._models:
            model.detach()
        try:
            self._require_finite(wait=True)
        finally:
            self.reset()

    def reset(self) -> None:
        """Let go of all features; the next call opens a trajectory."""
        self._branches.clear()
        self._finite.clear()
        self._clock.reset()
        self._at_work.close()

    def report(self) -> Report:
        """What the newest trajectory did, so far or in full; also after `detach`."""
        dry_runs, unplanned = self._accountant.dry_runs(self._current.model, self.site)
        return Report(
            model=self._current.name,
            site=self.site,
            schedule=str(self.schedule),
            predictor=str(self.predictor),
            calls=tuple(self._calls),
            cache_bytes=self._accountant.cache_bytes,
            cache_bytes_planned=self._accountant.planned_bytes(dry_runs),
            dry_runs=dry_runs,
            unplanned=unplanned,
        )

    def __enter__(self) -> Session:
        return self

    def __exit__(self, kind: object, *exception: object) -> None:
        if kind is not None:  # which says more than what came of it
            self._finite.clear()
        self.detach()

    def __repr__(self) -> str:
        return f"Session({self.schedule}, {self.predictor}, site={self.site!r})"

    def _call(self, model: AttachedModel, forward: Forward, args: Any, kwargs: Any) -> Any:
        """One call of a model: find its step and branch, decide, compute or forecast."""
        started = perf_counter()
        require_no_forecast_at_work()
        try:
            call = model.read(forward, args, kwargs)
            position = self._clock.advance(call.time, call.sample)
            if position.starts or model is not self._current:
                self._open_trajectory(model, position)
            if position.starts:
                self._at_work.open(self._clock.pipeline, call.model.present)
            number, branch = self._enter_branch(position, call)
            decision = self._decide(position.step, branch, call)
            output, decision = self._carry_out(decision, branch, call)
            if position.step.index == 0:
                self._at_work.see(output)
            self._calls.append(
                CallRecord(
                    position.step,
                    number,
                    decision.computes,
                    perf_counter() - started,
                    branch.shapes,
                )
            )
            if position.step.is_last:
                self._branches.pop(number, None)
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

    def _check_trajectory(self, total: int) -> None:
        self.schedule.check(total)
        self.predictor.check(total, self.schedule.foreseen(total))

    def _open_trajectory(self, model: AttachedModel, position: Position) -> None:
        """Let go of what another trajectory, or another model of this one, has computed."""
        if position.starts:
            self._calls.clear()
            self._accountant.open()
            if position.step.total is not None:
                self._check_trajectory(position.step.total)
            self._finite.clear()
        self._branches.clear()
        self._current = model

    def _enter_branch(self, position: Position, call: ModelCall) -> tuple[int, Branch]:
        """The branch that a call belongs to, and its number; a new one starts empty."""
        if position.order == 0 and position.step.is_last:
            self._branches.drop_idle(position.step)
        number, carried = self._branches.find(position, call.conditions)
        known = branch = self._branches.get(number)
        if branch is None or branch.signature != call.signature:
            branch = self._branches[number] = self._new_branch(call)
            if known is not None:
                branch.follow(known)
            self._accountant.enter(self._branches.values())
            if self._options.budget is not None:
                self._accountant.require_budget(
                    self._options.budget, call.model.present, self.site
                )
        branch.note_call(position.step, call.conditions, carried)
        return number, branch

    def _new_branch(self, call: ModelCall) -> Branch:
        depth, dtype, device = self.predictor.depth, self._options.dtype, self._options.offload
        grid = None
        if self.adapter.grid is not None and "grid" in self.predictor.needs:
            grid = self.adapter.grid(call.by_name, call.model.config)
        return Branch(
            lambda: History(depth, dtype, device, grid),
            call.signature,
            self._accountant.shapes_of_call(call.by_name),
        )

    def _decide(self, step: Step, branch: Branch, call: ModelCall) -> Decision:
        """Compute where the schedule says so or the history is too short, else forecast."""
        steps = branch.steps
        state = State(
            steps, call.sample, branch.computed_output, branch.forecast_output, branch.memory
        )
        if call.model.probes:
            state.look = call.look
        if ask(self.schedule, step, state) or len(steps) < self._at_work.predictor.minimum:
            return Decision(step)
        self._at_work.settle()
        return Decision(step, prepare(self._at_work.predictor, steps, step))

    def _carry_out(
        self, decision: Decision, branch: Branch, call: ModelCall
    ) -> tuple[Any, Decision]:
        """The output of a call, and what was done in the end: a forecast may be recomputed."""
        if decision.computes:
            self._require_finite()
        output = call.make(CallRecorder(branch, decision, {}))
        if not decision.computes:
            if self._options.not_finite == "raise":
                self._finite.watch(decision.step, output)
            elif not is_finite(output):
                decision = Decision(decision.step)
                output = call.make(CallRecorder(branch, decision, {}))
        if decision.step.is_last:
            self._require_finite(wait=True)
        if decision.computes:
            self._accountant.measure(self._branches.values())
        if "output" in self.schedule.needs:
            newest = next(leaf for leaf in pytree.tree_leaves(output) if is_feature(leaf)).detach()
            if decision.computes:
                branch.computed_output = newest
            else:
                branch.forecast_output = newest
        return output, decision

    def _require_finite(self, wait: bool = False) -> None:
        """Go on only where every forecast that is known by now was finite.

        Raises:
            NotFiniteError: one was not.
        """
        failed = self._finite.first_failed(wait)
        if failed is None:
            return
        known = (
            feature
            for branch in self._branches.values()
            for history in branch.histories()
            for step, feature in zip(history.steps, history.features, strict=True)
            if step.index < failed.index
        )
        cause = (
            f"{self.predictor} left the range of the dtype"
            if all(map(is_finite, known))
            else "the model itself computed NaN or infinity"
        )
        raise NotFiniteError(
            f"the forecast of step {failed.index} is not finite: {cause}; "
            "use not_finite='recompute', a lower order or a wider dtype"
        )
