"""Accelerated: what stands for a pipeline, and learns."""

from __future__ import annotations

import logging
import threading
import warnings
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from os import PathLike
from pathlib import Path
from time import perf_counter
from typing import Any

from forecastcache._util.progress import Progress, silent
from forecastcache.accelerated.call import Call
from forecastcache.accelerated.goal import Goal
from forecastcache.accelerated.kept import Kept
from forecastcache.accelerated.knowledge import Knowledge, Known
from forecastcache.accelerated.manner import BECOMES, Manner
from forecastcache.accelerated.seen import Seen, typical
from forecastcache.accelerated.summary import Summary
from forecastcache.calibration.calibration import Calibration
from forecastcache.calibration.subset import Subset
from forecastcache.engine.attach import attach
from forecastcache.errors import CalibrationError, ForecastCacheWarning, OptionError
from forecastcache.predictor import Predictor
from forecastcache.schedule import Schedule, Warped

logger = logging.getLogger("forecastcache")
OWN = frozenset({"pipe", "goal"})


class Accelerated:
    """A pipeline that is called as it always was, and computes fewer of its steps.

    Made by `accelerate`. Whatever it has not itself is the pipeline's, to read and to set. One
    call runs at a time, since a pipeline has one scheduler.

    Attributes:
        pipe: pipeline that it stands for.
        goal: what is asked of it.
    """

    def __init__(
        self, pipe: Any, goal: Goal, manner: Manner, kept: Kept, given: Calibration | None
    ) -> None:
        self.pipe = pipe
        self.goal = goal
        self._manner = manner
        becomes = BECOMES[manner.on_unknown]
        self._knowledge = Knowledge(pipe, kept, given, Subset(manner.elements), becomes)
        self._newest: Known | None = None
        self._seen, self._turn = Seen(), threading.RLock()

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        """Call the pipeline; what it returns is returned.

        Raises:
            OptionError: the goal asks for more steps than the call has.
            CalibrationError: nothing is known of such calls, and `on_unknown` is `raise`.
        """
        with self._turn:
            call = Call.of(self.pipe, args, kwargs)

            def make() -> Any:
                return self.pipe(*args, **kwargs)

            if call.steps < 1:  # which the pipeline refuses in words of its own
                return make()
            count = self.goal.count(call.steps)
            if count == call.steps:  # no step is left to forecast
                return make()
            known = self._newest = self._knowledge.of(call)
            self._seen.drift = {}
            learned = known.chosen(self.goal, self._seen.note)
            if learned is not None:
                if known.learning.samples:  # recorded while somebody else has learned it
                    known.forget()
                output = self._forecast(*learned, make)
                self._warn_of_drift()
                return output
            if self._manner.on_unknown == "raise":
                raise CalibrationError(
                    f"nothing was learned for such calls and {self.goal}: learn it by "
                    "fit(prompts=[...]), or leave out on_unknown='raise'"
                )
            if known.reason or self._manner.eager or self._manner.on_unknown == "formula":
                schedule = self.goal.schedule or Warped(count)
                return self._forecast(schedule, self._manner.formula, make)
            return self._learn(known, call, make)

    def __getattr__(self, name: str) -> Any:
        if name.startswith("_") or name in OWN:
            raise AttributeError(name)
        return getattr(self.pipe, name)

    def __setattr__(self, name: str, value: Any) -> None:
        if name.startswith("_") or name in OWN:
            super().__setattr__(name, value)
        else:
            setattr(self.pipe, name, value)

    def __repr__(self) -> str:
        return f"Accelerated({type(self.pipe).__name__}, {self.goal})"

    def fit(self, prompts: Sequence[str] = (), **arguments: Any) -> Calibration:
        """Learn now: from what was recorded, and from plain runs of `prompts`, which are made.

        Args:
            prompts: prompts to sample, one by one.
            arguments: further arguments of the pipeline's calls.

        Raises:
            CalibrationError: nothing was recorded, or a fit cannot be made of it.
            OptionError: the prompts are no list.
        """
        if isinstance(prompts, str):
            raise OptionError(f"prompts={prompts!r} is one text: give a list, [{prompts!r}]")
        with self._turn:
            for prompt in prompts:
                call = Call.of(self.pipe, (), {"prompt": prompt, **arguments})
                self._newest = self._knowledge.of(call)
                self._record(self._newest, call, call.made)
            known = self._newest
            if known is None:
                raise CalibrationError("nothing was recorded: make some pictures, or give prompts")
            if known.reason is not None:
                raise CalibrationError(known.reason)
            return self._fitted(known)

    def save(self, path: str | PathLike[str]) -> None:
        """Write the calibration of the newest calls to a file, which `calibration=` takes.

        Raises:
            CalibrationError: there is none yet, or it cannot be written.
        """
        if self._newest is None or self._newest.calibration is None:
            raise CalibrationError("nothing was learned yet: make some pictures, or call fit()")
        self._newest.calibration.save(Path(path))

    def summary(self) -> Summary:
        """What was learned and done so far."""
        known, seen = self._newest, self._seen
        fits = () if known is None or known.calibration is None else known.calibration.fits
        fit = next((it for it in fits if it.computed == seen.computed), None)
        return Summary(
            pipeline=type(self.pipe).__name__,
            goal=str(self.goal),
            state="not called yet" if known is None else known.in_words(self._manner.pictures),
            computed=seen.computed,
            steps=seen.steps,
            latent_psnr_db=None if fit is None else fit.latent_psnr_db,
            cache_bytes=seen.cache_bytes,
            drift=dict(seen.drift),
            plain_seconds=typical(seen.plain),
            fast_seconds=typical(seen.fast),
            plain_calls=seen.plain_calls,
            fast_calls=seen.fast_calls,
            fit_seconds=None if known is None else known.fit_seconds,
            fit_plain_runs=None if known is None else known.fit_plain_runs,
            fewer_steps=None if known is None else known.fewer_steps,
        )

    def _learn(self, known: Known, call: Call, make: Callable[[], Any]) -> Any:
        output = self._record(known, call, make)
        if known.reason is None and known.learning.samples >= self._manner.pictures:
            try:
                self._fitted(known)
            except CalibrationError as error:
                self._give_up(known, error)
        return output

    def _record(self, known: Known, call: Call, make: Callable[[], Any]) -> Any:
        """Make a call plainly and record it; what it returns is not lost where that fails."""
        made: list[Any] = []
        started = perf_counter()
        try:
            known.learning.record(call, lambda: made.append(make()))
        except CalibrationError as error:
            if not made:
                raise
            self._give_up(known, error)
        self._seen.note_plain(perf_counter() - started)
        return made[0]

    def _give_up(self, known: Known, error: Exception) -> None:
        known.reason = str(error)
        known.forget()
        warnings.warn(
            f"such calls cannot be learned from ({error}): they are forecast by a formula",
            ForecastCacheWarning,
            stacklevel=4,
        )

    def _fitted(self, known: Known) -> Calibration:
        cost = self._manner.fit_cost
        logger.info(
            "accelerate: fitting %s to %d samples takes %g plain runs of them at most",
            self.goal, known.learning.samples, cost,
        )  # fmt: skip
        with _progress_bar(self._manner.progress) as progress:
            found = known.fit(self.goal, cost, progress)
        self._knowledge.keep(known)
        self._warn_of_a_goal_out_of_reach(found)
        advice = known.fewer_steps and known.fewer_steps.advice
        if advice:
            warnings.warn(advice, ForecastCacheWarning, stacklevel=4)
        return found

    def _warn_of_a_goal_out_of_reach(self, calibration: Calibration) -> None:
        if self.goal.chosen(calibration) is not None:
            return
        most = max(fit.figure for fit in calibration.fits)
        warnings.warn(
            f"{self.goal} was not reached: {most:.1f} dB is the most that was rolled; ask for "
            "less, or allow a larger fit_cost",
            ForecastCacheWarning,
            stacklevel=5,
        )

    def _warn_of_drift(self) -> None:
        bound, drift = self._manner.guard, max(self._seen.drift.values(), default=0.0)
        if bound is not None and drift > bound:
            warnings.warn(
                f"forecasts of this call miss {drift:.1f} times what they did on the pictures "
                "learned from: it may be far from its plain run; sample it by .pipe(...), or "
                "learn from calls like it by fit(prompts=[...])",
                ForecastCacheWarning,
                stacklevel=3,
            )

    def _forecast(self, schedule: Schedule, predictor: Predictor, make: Callable[[], Any]) -> Any:
        started, seen = perf_counter(), self._seen
        with attach(self.pipe, schedule, predictor, **self._manner.storage) as session:
            output = make()
        seen.note_fast(perf_counter() - started)
        seen.steps = len({call.step.index for call in session.calls})
        computed = {call.step.index for call in session.calls if call.was_computed}
        seen.computed, seen.cache_bytes = tuple(sorted(computed)), session.cache_bytes
        return output


@contextmanager
def _progress_bar(shown: bool) -> Iterator[Progress]:
    if not shown:
        yield silent
        return
    from tqdm.auto import tqdm

    with tqdm(desc="forecastcache", leave=False) as bar:

        def progress(stage: str, done: int, of: int) -> None:
            bar.set_description(f"forecastcache, {stage}")
            bar.total, bar.n = of, done
            bar.refresh()

        yield progress
