"""Runs: each thread's state of a session, kept apart by the scheduler that its calls follow."""

from __future__ import annotations

import threading
import weakref

from forecastcache.engine.call import AttachedModel
from forecastcache.engine.caller import calling_pipeline
from forecastcache.engine.run import Run
from forecastcache.engine.setting import Setting


class Runs:
    """Finds the run that a call belongs to.

    A run goes with its thread or its scheduler, so nothing of either is kept alive.

    Args:
        setting: what the session was attached with.
        pipeline: attached pipeline; None for a bare model.
        model: model that is called first.

    Attributes:
        newest: run of the newest call.

    Raises:
        AttachError: the pipeline's scheduler cannot be served.
    """

    def __init__(self, setting: Setting, pipeline: object | None, model: AttachedModel) -> None:
        self._setting = setting
        self._pipeline = None if pipeline is None else weakref.ref(pipeline)
        self._mine = _OfThread()
        self._all: weakref.WeakSet[Run] = weakref.WeakSet()
        # Entered again where memory is freed in between and a model goes with it.
        self._lock = threading.RLock()
        self.newest = self._run(pipeline, model)

    def of(self, model: AttachedModel) -> tuple[Run, object | None]:
        """The run of a call of `model` in this thread, and the pipeline that makes it, if known.

        Raises:
            AttachError: the calling pipeline's scheduler cannot be served.
        """
        caller = calling_pipeline(model.present)
        pipeline = caller or (self._pipeline and self._pipeline())
        self.newest = run = self._run(pipeline, model)
        return run, caller

    def every(self) -> list[Run]:
        """The runs of all threads."""
        with self._lock:
            return list(self._all)

    def end(self, pipeline: object, failed: bool) -> None:
        """End the run of this thread under the pipeline's scheduler, if there is one.

        Args:
            pipeline: pipeline whose loop has ended.
            failed: whether it ended by an exception, which says more than what came of it.

        Raises:
            NotFiniteError: a forecast was not finite.
        """
        run = self._mine.of(getattr(pipeline, "scheduler", None))
        if run is None:
            return
        if failed:
            run.reset()
        else:
            run.end()

    def _run(self, pipeline: object | None, model: AttachedModel) -> Run:
        scheduler = getattr(pipeline, "scheduler", None)
        run = self._mine.of(scheduler)
        if run is None:
            run = Run(self._setting, pipeline, model)
            self._mine.add(scheduler, run)
            with self._lock:
                self._all.add(run)
        return run


class _OfThread(threading.local):
    """The runs of one thread by scheduler."""

    def __init__(self) -> None:
        self._by_scheduler: weakref.WeakKeyDictionary[object, Run] = weakref.WeakKeyDictionary()
        self._without: Run | None = None

    def of(self, scheduler: object | None) -> Run | None:
        return self._without if scheduler is None else self._by_scheduler.get(scheduler)

    def add(self, scheduler: object | None, run: Run) -> None:
        if scheduler is None:
            self._without = run
        else:
            self._by_scheduler[scheduler] = run
