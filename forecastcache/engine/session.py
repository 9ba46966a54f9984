"""Session: a predictor, a schedule and an adapter at work on a model."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from functools import partial
from typing import Any

from torch import nn

from forecastcache.adapter import Adapter
from forecastcache.engine.call import AttachedModel
from forecastcache.engine.loop_end import LoopEnd
from forecastcache.engine.patch import Forward
from forecastcache.engine.report import CallRecord, Report
from forecastcache.engine.runs import Runs
from forecastcache.engine.setting import SessionOptions, Setting
from forecastcache.errors import AttachError
from forecastcache.granularity import Granularity
from forecastcache.predictor import Predictor
from forecastcache.registry import adapter_for
from forecastcache.schedule import Schedule, Signal


class Session:
    """A predictor, a schedule and an adapter attached to a model; made by `attach`.

    It owns all state. Nothing is patched on a class, so sessions do not see each other. Where a
    pipeline has two models that take turns along a trajectory, both are attached. Their outputs
    answer the same question and forecast each other; at other sites each model is forecast from
    what it computed itself.

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
        inside: frozenset[Signal] = predictor.needs & {"first_block"}  # type: ignore[assignment]
        signals = sorted((schedule.needs - {"output"}) | inside)
        self._models = [
            AttachedModel(model, self.adapter, site, signals, number)
            for number, model in enumerate(models)
        ]
        self._setting = Setting(self.adapter, schedule, predictor, site, options)
        self._runs = Runs(self._setting, pipeline, self._models[0])
        self._require_needs()
        for each in models:
            schedule.check_model(each)
        for model in self._models:
            model.attach(partial(self._call, model), self)
        self._loop_end = None if pipeline is None else LoopEnd(pipeline, self._runs.end)
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
        if self._loop_end is not None:
            self._loop_end.remove()
        for model in self._models:
            model.detach()
        try:
            for run in self._runs.every():
                run.end()
        finally:
            self.reset()

    def reset(self) -> None:
        """Let go of all features, of every thread; the next call opens a trajectory."""
        for run in self._runs.every():
            run.reset()

    @property
    def calls(self) -> tuple[CallRecord, ...]:
        """The calls of the newest trajectory, as its report has them, at no cost."""
        return tuple(self._runs.newest.calls)

    @property
    def cache_bytes(self) -> int:
        """Most bytes that the histories of the newest trajectory held at a time."""
        return self._runs.newest.accountant.cache_bytes

    def report(self) -> Report:
        """What the newest trajectory did, so far or in full; also after `detach`.

        Where several threads are at work it is that of the newest call.
        """
        run = self._runs.newest
        dry_runs, unplanned = run.accountant.dry_runs(run.model.model, self.site)
        report = Report(
            model=run.model.name,
            site=self.site,
            schedule=str(self.schedule),
            predictor=str(self.predictor),
            calls=tuple(run.calls),
            cache_bytes=run.accountant.cache_bytes,
            cache_bytes_planned=run.accountant.planned_bytes(dry_runs),
            dry_runs=dry_runs,
            unplanned=unplanned,
            shown_bytes=run.accountant.shown_bytes,
        )
        ended = run.calls and run.calls[-1].step.is_last
        remark = self.schedule.remark(report.computed, report.steps) if ended else None
        return replace(report, remark=remark)

    def __enter__(self) -> Session:
        return self

    def __exit__(self, kind: object, *exception: object) -> None:
        if kind is not None:  # which says more than what came of it
            self.reset()
        self.detach()

    def __repr__(self) -> str:
        return f"Session({self.schedule}, {self.predictor}, site={self.site!r})"

    def _call(self, model: AttachedModel, forward: Forward, args: Any, kwargs: Any) -> Any:
        run, caller = self._runs.of(model)
        return run.call(model, forward, args, kwargs, caller)

    def _require_needs(self) -> None:
        if self.predictor.total is not None:
            self._setting.check_trajectory(self.predictor.total)
        if "grid" in self.predictor.needs and self.adapter.grid is None and self.site != "output":
            raise AttachError(
                f"{self.predictor} needs the layout of the tokens, which the adapter "
                f"{self.adapter.name!r} does not tell: use site='output', or give it a grid"
            )
