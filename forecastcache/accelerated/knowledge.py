"""Knowledge: what was learned of each scope, by this process or before it."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from dataclasses import dataclass, field
from time import perf_counter
from typing import Any

from forecastcache._util.progress import Progress
from forecastcache.accelerated.call import Call
from forecastcache.accelerated.fewer_steps import BesideFewerSteps
from forecastcache.accelerated.goal import Goal
from forecastcache.accelerated.kept import Kept
from forecastcache.accelerated.learning import Learning
from forecastcache.accelerated.scope import Scope, Scopes
from forecastcache.accelerated.watch import Watched, checks
from forecastcache.calibration.calibration import Calibration
from forecastcache.calibration.identity import Identity, Part
from forecastcache.calibration.offers import Offer
from forecastcache.calibration.subset import Subset
from forecastcache.engine.attach import denoisers
from forecastcache.errors import CalibrationError, ForecastCacheWarning
from forecastcache.predictor import Predictor

SCALES = ("guidance_scale", "true_cfg_scale")
SECOND = "guidance_scale_2"  # of the model that takes over
ANY_SCALE = {"guidance": None}


@dataclass
class Known:
    """What is known of one scope.

    Attributes:
        scope: the scope.
        learning: calls that were recorded.
        calibration: what they came to; None until then.
        reason: why they cannot come to anything; None where they can.
        fit_seconds: seconds that the newest fit took; None where there was none.
        fit_plain_runs: evaluations that it took, as plain runs of the samples learned from.
        fewer_steps: that fit beside fewer steps; None where it leaves no doubt.
    """

    scope: Scope
    learning: Learning
    calibration: Calibration | None = None
    reason: str | None = None
    fit_seconds: float | None = None
    fit_plain_runs: float | None = None
    fewer_steps: BesideFewerSteps | None = None
    _watched: dict[tuple[int, ...], tuple[Watched, Predictor]] = field(default_factory=dict)

    def offer(self, goal: Goal) -> Offer | None:
        """What was learned for a goal; None where that is to be learned first.

        Where this process has fitted in vain, it is what came nearest.
        """
        if self.calibration is None:
            return None
        offer = goal.chosen(self.calibration)
        if offer is None and self.fit_seconds is not None and goal.psnr is not None:
            return goal.nearest(self.calibration)
        return offer

    def chosen(
        self, goal: Goal, tell: Callable[[int, list[float]], None]
    ) -> tuple[Watched, Predictor] | None:
        """What forecasts a call; None where it is to be learned first.

        Args:
            goal: what is asked.
            tell: function that is told what forecasts would have missed, always the same one; see
                `Watched`.
        """
        offer = self.offer(goal)
        if offer is None or self.calibration is None:
            return None
        if offer.computed not in self._watched:
            schedule, predictor = self.calibration.taken(offer, on_mismatch="taylor")
            expected = checks(self.calibration, schedule.steps)
            watched = Watched(steps=schedule.steps, checks=expected, tell=tell)
            self._watched[offer.computed] = watched, predictor
        return self._watched[offer.computed]

    def fit(self, goal: Goal, cost: float, progress: Progress) -> Calibration:
        """Fit what a goal asks for to the recorded calls, which are let go of; see `Learning.fit`.

        Raises:
            CalibrationError: it cannot be.
        """
        started, learning = perf_counter(), self.learning
        found = learning.fit(goal, cost, progress, self.calibration)
        self.calibration = found
        self.fit_plain_runs = learning.spent / (learning.samples * found.recording.steps)
        self.fewer_steps = learning.fewer_steps
        self.fit_seconds = perf_counter() - started
        self._watched.clear()
        self.forget()
        return found

    def forget(self) -> None:
        """Let go of the recorded calls."""
        self.learning = Learning(self.learning.pipe, self.learning.subset)

    def in_words(self, pictures: int) -> str:
        """What is known, where so many pictures are to be recorded."""
        if self.reason is not None:
            return f"forecast by a formula, since {self.reason}"
        if self.calibration is not None:
            return "learned"
        return f"{self.learning.samples} of {pictures} pictures recorded"


class Knowledge:
    """Finds what is known of a call.

    Args:
        pipe: a diffusers pipeline.
        kept: folder of what was learned before.
        given: a calibration that was made before; None for none.
        subset: elements of each sample that are looked at.
        becomes: what becomes of calls of which nothing is known, in words.
    """

    def __init__(
        self, pipe: Any, kept: Kept, given: Calibration | None, subset: Subset, becomes: str
    ) -> None:
        self._pipe, self._kept, self._given = pipe, kept, given
        self._subset, self._becomes = subset, becomes
        self._scopes, self._known = Scopes(), dict[str, Known]()

    def of(self, call: Call) -> Known:
        """What is known of a call that is yet to be made."""
        scope = self._scopes.of(call)
        known = self._known.get(scope.name)
        if known is None:
            kept = self._kept.get(scope, self._is_of_this_pipeline)
            known = Known(scope, Learning(self._pipe, self._subset), kept)
            if self._given is not None and self._is_of(self._given, scope):
                known.calibration = self._given
            self._say_what_differs(known)
            self._known[scope.name] = known
        elif known.calibration is None and known.reason is None:
            # Another worker or process with the same folder may have learned it meanwhile.
            known.calibration = self._kept.get(scope, self._is_of_this_pipeline)
        return known

    def keep(self, known: Known) -> None:
        """Keep what was learned for the next process."""
        if known.calibration is not None:
            self._kept.put(known.scope, known.calibration)

    def _is_of_this_pipeline(self, calibration: Calibration) -> bool:
        """Whether a file may be what its name says; no more of it is told by the file."""
        theirs, models = calibration.identity, denoisers(self._pipe)[0]
        mine = Part.of(models[0]), Part.of(self._pipe.scheduler)
        return mine == (theirs.model, theirs.scheduler)

    def _is_of(self, calibration: Calibration, scope: Scope) -> bool:
        """Whether a calibration that was given holds for calls of a scope."""
        identity, facts = calibration.identity, scope.facts
        known = identity.scales or [it for it in (identity.guidance,) if it is not None]
        asked = [facts[name] for name in SCALES if facts.get(name) is not None]
        guided = calibration.recording.guided_outside and known and asked
        if guided and not any(min(known) <= scale <= max(known) for scale in asked):
            return False
        steps, second = facts.get("num_inference_steps", identity.steps), facts.get(SECOND)
        mine = Identity.of(self._pipe, steps, facts.get("guidance_scale"), guidance_2=second)
        try:
            identity.model_copy(update=ANY_SCALE).require(mine.model_copy(update=ANY_SCALE))
        except CalibrationError:
            return False
        return True

    def _say_what_differs(self, known: Known) -> None:
        learned = [it.scope for it in self._known.values() if it.calibration is not None]
        if known.calibration is not None or not (learned or self._given):
            return
        differing = (it.differs(known.scope) for it in learned)
        names = min(differing, key=len, default=["scope"])
        warnings.warn(
            f"such a call is of another {', '.join(names)} than what was learned: it "
            f"{self._becomes}",
            ForecastCacheWarning,
            stacklevel=4,
        )
