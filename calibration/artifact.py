"""Calibration: what was learned of a model, in one small file that serves every speed."""

from __future__ import annotations

import json
import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
from pydantic import BaseModel, ConfigDict, ValidationError
from safetensors import SafetensorError, safe_open
from safetensors.numpy import save_file

from forecastcache.calibration import planner
from forecastcache.calibration.gram import RIDGE, open_loop_rows
from forecastcache.calibration.identity import Identity
from forecastcache.calibration.recording import Recording
from forecastcache.errors import CalibrationError
from forecastcache.predictors.learned import Learned
from forecastcache.predictors.row import Row
from forecastcache.schedule import Listed, Schedule
from forecastcache.whole import whole

FORMAT = "forecastcache calibration"
VERSION = 1
RANGE = 2.0
Loop = Literal["open", "closed"]


class Fit(BaseModel):
    """The rows of one schedule, fitted in closed loop.

    Attributes:
        computed: the computed steps.
        rows: one for each forecast step.
        psnr_db: of the final samples to the plain ones, on prompts that the rows were not fitted
            to where there were any, else on those that they were; data range 2.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")
    computed: tuple[int, ...]
    rows: tuple[Row, ...]
    psnr_db: float


class About(BaseModel):
    """What a file says of itself."""

    model_config = ConfigDict(frozen=True, extra="forbid")
    format: str = FORMAT
    version: int = VERSION
    identity: Identity
    prompts: int
    elements: int
    versions: dict[str, str]
    fits: tuple[Fit, ...] = ()


@dataclass(frozen=True)
class Offer:
    """A schedule with its rows, and how near to the plain run they are expected to end.

    Attributes:
        computed: the computed steps.
        loop: that the rows are of.
        psnr_db: of the final sample. In closed loop it was measured; in open loop it is what the
            Gram matrix foretells, gap by gap, which is a little too good.
    """

    computed: tuple[int, ...]
    loop: Loop
    psnr_db: float


def decibels(error: float) -> float:
    """A mean squared error as PSNR in dB; data range 2, that of pictures in [-1, 1]."""
    return 10 * math.log10(RANGE**2 / max(error, 1e-20))


@dataclass(frozen=True)
class Calibration:
    """What plain and accelerated runs of some fifty prompts have taught of a model.

    Attributes:
        about: of what, from how many prompts, and the closed-loop fits.
        recording: sums over the plain runs, from which any schedule is fitted in open loop.
    """

    about: About
    recording: Recording

    @property
    def identity(self) -> Identity:
        """What it is of."""
        return self.about.identity

    @property
    def fits(self) -> tuple[Fit, ...]:
        """The closed-loop fits, fewest computed steps first."""
        return tuple(sorted(self.about.fits, key=lambda fit: (len(fit.computed), -fit.psnr_db)))

    def predictor(
        self, schedule: Schedule, loop: Loop = "closed", depth: int | None = None
    ) -> Learned:
        """The rows for `schedule`.

        Args:
            schedule: one that knows its steps beforehand.
            loop: `closed` for rows that were fitted where the accelerated sampler goes, if the
                file has them for this schedule; `open` for rows solved here and now.
            depth: newest computed steps that open-loop rows read; None for all.

        Raises:
            CalibrationError: the file has no closed-loop rows for this schedule.
        """
        computed = schedule.computed(self.recording.steps)
        times = self.recording.times.tolist()
        if loop == "open":
            return Learned(open_loop_rows(self.recording.gram, computed, depth, RIDGE), times)
        fit = next((fit for fit in self.about.fits if fit.computed == computed), None)
        if fit is None:
            known = "; ".join(" ".join(map(str, fit.computed)) for fit in self.fits) or "none"
            raise CalibrationError(
                f"no closed-loop rows for the steps {' '.join(map(str, computed))} (there are "
                f"{known}): calibrate with --schedule {','.join(map(str, computed))}, or take "
                "loop='open'"
            )
        return Learned(fit.rows, times)

    def plan(self, computed: int) -> Listed:
        """The schedule of `computed` steps: the best of the closed-loop fits, else planned.

        Raises:
            CalibrationError: a trajectory cannot have so many computed steps.
        """
        planner.require_count(computed, self.recording.steps)
        of_that_many = [fit for fit in self.about.fits if len(fit.computed) == computed]
        if of_that_many:
            return Listed(max(of_that_many, key=lambda fit: fit.psnr_db).computed)
        return Listed(planner.plan(self.recording.gram, self._weight, computed))

    def choose(self, computed: int) -> tuple[Listed, Learned]:
        """Schedule and predictor for `computed` steps: `fc.attach(pipe, *cal.choose(9))`.

        Raises:
            CalibrationError: a trajectory cannot have so many computed steps.
        """
        schedule = self.plan(computed)
        fitted = any(fit.computed == schedule.steps for fit in self.about.fits)
        return schedule, self.predictor(schedule, "closed" if fitted else "open")

    def figures(self) -> dict[str, Any]:
        """What it is of and what it holds, ready for JSON."""
        motion = self.recording.motion
        return {
            **self.about.model_dump(exclude={"fits"}),
            "sampler_missed": motion.missed,
            "fits": [fit.model_dump(exclude={"rows"}) for fit in self.fits],
        }

    def frontier(self) -> tuple[Offer, ...]:
        """What there is to choose from, fewest computed steps first."""
        weight, gram = self._weight, self.recording.gram
        offers = [Offer(fit.computed, "closed", fit.psnr_db) for fit in self.fits]
        for computed in planner.plans(gram, weight, self.recording.steps):
            error = planner.schedule_cost(gram, weight, computed) / self.recording.elements
            offers.append(Offer(computed, "open", decibels(error)))
        return tuple(sorted(offers, key=lambda it: (len(it.computed), it.loop)))

    @property
    def _weight(self) -> np.ndarray:
        motion = self.recording.motion
        return planner.sensitivities(motion.keep, motion.move)

    def with_fits(self, fits: Sequence[Fit]) -> Calibration:
        """The same with more closed-loop fits; a new fit replaces that of the same steps."""
        new = {fit.computed: fit for fit in (*self.about.fits, *fits)}
        return Calibration(
            self.about.model_copy(update={"fits": tuple(new.values())}), self.recording
        )

    def save(self, path: str | Path) -> None:
        """Write one safetensors file, whole or not at all."""
        path = Path(path)
        arrays = {
            name: np.ascontiguousarray(getattr(self.recording, name))
            for name in ("times", "gram", "branches", "products")
        }
        try:
            with whole(path) as partial:
                save_file(arrays, partial, metadata={"about": self.about.model_dump_json()})
        except (OSError, SafetensorError) as error:
            raise CalibrationError(f"{path} cannot be written ({error})") from None

    @classmethod
    def load(cls, path: str | Path) -> Calibration:
        """Read a file that `save` wrote.

        Raises:
            CalibrationError: there is none, or it is truncated, foreign or of a newer version.
        """
        path = Path(path)
        if not path.is_file():
            raise CalibrationError(
                f"{path} is no file: make one with forecastcache calibrate MODEL --out {path}"
            )
        try:
            with safe_open(path, "numpy") as file:
                metadata: dict[str, str] = file.metadata() or {}
                arrays: dict[str, Any] = {key: file.get_tensor(key) for key in file.keys()}  # noqa: SIM118
        except (SafetensorError, OSError) as error:
            raise CalibrationError(
                f"{path} is damaged or no safetensors file ({error}): calibrate again"
            ) from None
        about = _about(path, metadata)
        return cls(about, Recording(**arrays, prompts=about.prompts, elements=about.elements))


def _about(path: Path, metadata: dict[str, str]) -> About:
    try:
        said: dict[str, Any] = json.loads(metadata.get("about", ""))
    except json.JSONDecodeError:
        said = {}
    if said.get("format") != FORMAT:
        raise CalibrationError(
            f"{path} is no calibration: give what forecastcache calibrate wrote"
        )
    if said.get("version", 0) > VERSION:
        raise CalibrationError(
            f"{path} is of version {said['version']}, newer than {VERSION}: upgrade forecastcache"
        )
    try:
        return About.model_validate(said)
    except ValidationError as error:
        raise CalibrationError(
            f"{path} is damaged: {error.errors()[0]['msg']}; calibrate again"
        ) from None
