"""Run: what a session knows of the runs of one thread under one scheduler, and does at a call."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from time import perf_counter
from typing import Any

from torch import Tensor
from torch.utils import _pytree as pytree

from forecastcache.engine.at_work import AtWork
from forecastcache.engine.branch import Branch, CallRecorder, Decision
from forecastcache.engine.branches import Branches
from forecastcache.engine.call import AttachedModel, ModelCall
from forecastcache.engine.checked import ask, prepare, require_no_forecast_at_work
from forecastcache.engine.clock import Clock, Position
from forecastcache.engine.finite import FiniteCheck, is_finite
from forecastcache.engine.patch import Forward
from forecastcache.engine.report import CallRecord
from forecastcache.engine.setting import Setting
from forecastcache.engine.token_shards import agreed
from forecastcache.errors import AttachError, NotFiniteError
from forecastcache.history import Beside, History, is_feature
from forecastcache.memory.accountant import Accountant
from forecastcache.predictor import SEEN
from forecastcache.schedule import State
from forecastcache.step import Step


class Run:
    """The trajectories of one thread under one scheduler, one after another.

    Args:
        setting: what the session was attached with.
        pipeline: pipeline whose scheduler tells the steps; None for a bare model.
        model: model that is called first.

    Attributes:
        calls: calls of the newest trajectory.
        accountant: bytes of the newest trajectory.
        model: model that was called last.

    Raises:
        AttachError: the scheduler calls the model twice a step, or does not tell the noise level
            that the predictor needs.
    """

    def __init__(self, setting: Setting, pipeline: object | None, model: AttachedModel) -> None:
        self.setting = setting
        self.model = model
        self.accountant = Accountant(
            setting.adapter, setting.predictor.depth, setting.options.dtype
        )
        self.calls: list[CallRecord] = []
        self._clock = Clock(pipeline, setting.adapter.chunked)
        self._at_work = AtWork(setting.predictor, setting.schedule)
        self._branches = Branches()
        self._finite = FiniteCheck()
        if "logsnr" in setting.predictor.needs and not self._clock.tells_logsnr:
            raise AttachError(
                f"{setting.predictor} needs the noise level of each step, which no scheduler "
                "tells here: attach a pipeline whose scheduler knows it, or use coordinate='time'"
            )

    def reset(self) -> None:
        """Let go of all features; the next call opens a trajectory."""
        self._branches.clear()
        self._finite.clear()
        self._clock.reset()
        self._at_work.close()

    def end(self) -> None:
        """Let go of all features, once every forecast is known to have been finite.

        Raises:
            NotFiniteError: one was not.
        """
        try:
            self._require_finite(wait=True)
        finally:
            self.reset()

    def call(
        self,
        model: AttachedModel,
        forward: Forward,
        args: Any,
        kwargs: Any,
        caller: object | None = None,
    ) -> Any:
        """One call of a model: find its step and branch, decide, compute or forecast.

        Args:
            model: model that is called.
            forward: the model's own forward.
            args: positional arguments.
            kwargs: keyword arguments.
            caller: pipeline that makes the call, where it is known.
        """
        started = perf_counter()
        require_no_forecast_at_work()
        try:
            call = model.read(forward, args, kwargs)
            position = self._clock.advance(call.times, call.sample, caller)
            self._follow(position, call, caller or self._clock.pipeline)
            number, branch = self._enter_branch(position, call)
            self._show(call, branch)
            decision = self._decide(position.step, branch, call)
            output, decision = self._carry_out(decision, branch, call)
            self._at_work.see(position.step, output)
            self.calls.append(
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

    def _follow(self, position: Position, call: ModelCall, pipeline: object | None) -> None:
        """Open a trajectory, or go on with it in the hands of another model, where that is so."""
        before, self.model = self.model, call.model
        if position.starts:
            self._open_trajectory(position)
            self._at_work.open(pipeline, call.model)
        elif call.model is not before:
            if not self.setting.spans_models:
                self._branches.clear()
            self._at_work.hand_over(pipeline, call.model, position.step)

    def _open_trajectory(self, position: Position) -> None:
        """Let go of what another trajectory has computed."""
        self.calls.clear()
        self.accountant.open()
        if position.step.total is not None:
            self.setting.check_trajectory(position.step.total)
        self._finite.clear()
        self._branches.clear()

    def _enter_branch(self, position: Position, call: ModelCall) -> tuple[int, Branch]:
        """The branch that a call belongs to, and its number; a new one starts empty."""
        if position.order == 0 and position.step.is_last:
            self._branches.drop_idle(position.step)
        number, carried = self._branches.find(position, call.sample, call.conditions)
        known = branch = self._branches.get(number)
        if branch is None or branch.signature != call.signature:
            branch = self._branches[number] = self._new_branch(call)
            if known is not None:
                branch.follow(known)
            self.accountant.enter(self._branches.values())
            if self.setting.options.budget is not None:
                self.accountant.require_budget(
                    self.setting.options.budget, call.model.present, self.setting.site
                )
        branch.note_call(position.step, call.conditions, carried)
        return number, branch

    def _new_branch(self, call: ModelCall) -> Branch:
        predictor, options = self.setting.predictor, self.setting.options
        grid = self._grid(call) if "grid" in predictor.needs else None
        beside: dict[str, Beside] = {
            need: Beside(History(predictor.depth, options.dtype, options.offload))
            for need in sorted(predictor.needs & SEEN)
        }
        return Branch(
            lambda: History(predictor.depth, options.dtype, options.offload, grid, beside),
            call.signature,
            self.accountant.shapes_of_call(call.by_name),
            beside,
        )

    def _grid(self, call: ModelCall) -> tuple[int, ...] | None:
        """The layout of the image's tokens; None where the adapter does not tell."""
        read = self.setting.adapter.grid
        return None if read is None else read(call.by_name, call.model.config)

    def _show(self, call: ModelCall, branch: Branch) -> None:
        """Let a predictor that asks for it see the sample, or what the first block makes of it."""
        for need, seen in branch.beside.items():
            seen.now = call.sample if need == "latent" else call.look("first_block")

    def _decide(self, step: Step, branch: Branch, call: ModelCall) -> Decision:
        """Compute where the schedule says so or the history is too short, else forecast."""
        steps = branch.steps
        state = State(
            steps, call.sample, branch.computed_output, branch.forecast_output, branch.memory
        )
        if call.model.probes:
            state.look = call.look
        state.grid = partial(self._grid, call)
        state.forecast = partial(self._forecast_from, step, branch)
        schedule, predictor = self.setting.schedule, self._at_work.predictor
        wanted = ask(schedule, step, state)
        if self.setting.looks_inside:  # processes that share the model may have seen other numbers
            wanted = agreed(call.model.present, wanted, call.sample.device)
        if wanted or len(steps) < predictor.minimum:
            return Decision(step)
        self._at_work.settle(step)
        return Decision(step, prepare(self._at_work.predictor, steps, step))

    def _forecast_from(
        self, step: Step, branch: Branch, features: Sequence[Tensor]
    ) -> Tensor | None:
        """What the predictor makes of features at the steps in the history, for a schedule."""
        steps = branch.steps
        self._at_work.settle(step)
        if len(steps) < self._at_work.predictor.minimum:
            return None
        history = branch.new_history()
        for each, feature in zip(steps, features, strict=True):
            history.observe(each, feature)
        return prepare(self._at_work.predictor, steps, step)(history)

    def _carry_out(
        self, decision: Decision, branch: Branch, call: ModelCall
    ) -> tuple[Any, Decision]:
        """The output of a call, and what was done in the end: a forecast may be recomputed."""
        if decision.computes:
            self._require_finite()
        output = call.make(CallRecorder(branch, decision, {}))
        if not decision.computes:
            if self.setting.options.not_finite == "raise":
                self._finite.watch(decision.step, output)
            elif not is_finite(output):
                decision = Decision(decision.step)
                output = call.make(CallRecorder(branch, decision, {}))
        if decision.step.is_last:
            self._require_finite(wait=True)
        elif decision.computes:
            for seen in branch.beside.values():
                seen.keep(decision.step)
        if decision.computes:
            self.accountant.measure(self._branches.values())
        if "output" in self.setting.schedule.needs:
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
            f"{self.setting.predictor} left the range of the dtype"
            if all(map(is_finite, known))
            else "the model itself computed NaN or infinity"
        )
        raise NotFiniteError(
            f"the forecast of step {failed.index} is not finite: {cause}; "
            "use not_finite='recompute', a lower order or a wider dtype"
        )
