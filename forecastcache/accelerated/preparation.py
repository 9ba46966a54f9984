"""Preparation: what accelerates a request, found among what is kept or else learned now."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from forecastcache._util.progress import Progress
from forecastcache.accelerated.call import Call
from forecastcache.accelerated.fewer_steps import BesideFewerSteps
from forecastcache.accelerated.goal import Goal
from forecastcache.accelerated.kept import Kept
from forecastcache.accelerated.knowledge import Knowledge
from forecastcache.accelerated.seen import Seen
from forecastcache.calibration.calibration import Calibration
from forecastcache.calibration.subset import Subset
from forecastcache.predictor import Predictor
from forecastcache.sampling.request import Request, refusals_in_a_line
from forecastcache.schedule import Schedule


@dataclass(frozen=True)
class Prepared:
    """What accelerates a request.

    Attributes:
        schedule: schedule of the computed steps.
        predictor: predictor of the others.
        calibration: all that was learned.
        goal: goal that it was chosen by.
        file: file that it is kept in; None where it could not be kept.
        drift: how many times what they did on the samples learned from the forecasts of runs by
            the schedule missed, at computed steps; filled in by these runs.
        samples: number of samples that it was learned from now; 0 where it was kept before.
        fit_seconds: seconds that the fit took; None where it was kept before.
        fit_plain_runs: evaluations that the fit took, as plain runs of these samples, likewise.
        fewer_steps: the fit beside fewer steps; None where it leaves no doubt.
    """

    schedule: Schedule
    predictor: Predictor
    calibration: Calibration
    goal: Goal
    file: Path | None
    drift: Mapping[int, float]
    samples: int = 0
    fit_seconds: float | None = None
    fit_plain_runs: float | None = None
    fewer_steps: BesideFewerSteps | None = None

    @property
    def latent_psnr_db(self) -> float | None:
        """PSNR in dB of the final latents to the plain run's, as rolled; None if it was not."""
        computed = self.schedule.foreseen(self.calibration.identity.steps)
        fits = self.calibration.fits
        return next((it.latent_psnr_db for it in fits if it.computed == computed), None)

    @property
    def reached(self) -> bool:
        """Whether the goal was reached; else it is what came nearest."""
        return self.goal.chosen(self.calibration) is not None

    def figures(self) -> dict[str, Any]:
        """What was learned, ready for JSON."""
        return {
            "goal": str(self.goal),
            "reached": self.reached,
            "kept_before": self.samples == 0,
            "file": None if self.file is None else str(self.file),
            "latent_psnr_db": self.latent_psnr_db,
            "samples": self.samples,
            "fit_seconds": self.fit_seconds,
            "fit_plain_runs": self.fit_plain_runs,
            "fewer_steps_latent_psnr_db": self.fewer_steps and self.fewer_steps.own_db,
            "fits": [
                {"computed": list(it.computed), "latent_psnr_db": it.latent_psnr_db}
                for it in self.calibration.fits
            ],
        }


class Preparation:
    """Finds or learns what accelerates a request.

    Args:
        pipe: a diffusers pipeline with nothing attached.
        request: the samples that the pipeline will be asked for.
        goal: goal to reach.
        kept: folder of what was learned before.
    """

    def __init__(self, pipe: Any, request: Request, goal: Goal, kept: Kept) -> None:
        self._pipe, self._goal, self._kept = pipe, goal, kept
        self._knowledge = Knowledge(pipe, kept, None, Subset(), "is learned")
        self._known = self._knowledge.of(Call.of(pipe, (), request.keywords(pipe)))

    def found(self) -> Prepared | None:
        """What is kept for such calls and this goal; None where it is to be learned."""
        return self._prepared()

    def learn(self, examples: Request, cost: float, progress: Progress) -> Prepared:
        """Sample plainly, fit to that, and keep it.

        Args:
            examples: the samples to learn from; they differ from the request's in what is asked
                and in the noise, and in nothing else.
            cost: as many plain runs of these samples as the fit may take.
            progress: called with (stage, done, of).

        Raises:
            CalibrationError: no fit can be made of them.
            RequestError: the pipeline cannot be called so.
        """
        known = self._known
        call = Call.of(self._pipe, (), examples.keywords(self._pipe))
        progress("record", 0, call.samples)
        with refusals_in_a_line(self._pipe):
            known.learning.record(call, lambda: call.again(self._pipe))
        progress("record", call.samples, call.samples)
        samples = known.learning.samples
        known.fit(self._goal, cost, progress)
        self._knowledge.keep(known)
        prepared = self._prepared(samples)
        assert prepared is not None  # after a fit, what came nearest is chosen
        return prepared

    def _prepared(self, samples: int = 0) -> Prepared | None:
        known, seen = self._known, Seen()
        chosen = known.chosen(self._goal, seen.note)
        if chosen is None or known.calibration is None:
            return None
        path = self._kept.path(known.scope)
        return Prepared(
            *chosen,
            calibration=known.calibration,
            goal=self._goal,
            file=path if path.exists() else None,
            drift=seen.drift,
            samples=samples,
            fit_seconds=known.fit_seconds,
            fit_plain_runs=known.fit_plain_runs,
            fewer_steps=known.fewer_steps,
        )
