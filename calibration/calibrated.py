"""Calibrated: rows that know what they were fitted on, and are held to it."""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from typing import Any, Literal

import numpy as np
from torch import nn

from forecastcache.calibration.identity import Identity, Part, parts_of
from forecastcache.calibration.scales import SAME_SCALE, AcrossScales
from forecastcache.calibration.several import Rows
from forecastcache.errors import CalibrationError, ForecastCacheWarning
from forecastcache.predictor import LinearPredictor, Need, Predictor, Sampling
from forecastcache.predictors.taylor import Taylor
from forecastcache.step import Step

OnMismatch = Literal["raise", "warn", "taylor"]


class Calibrated(LinearPredictor):
    """The rows of a calibration, for the model, scheduler and guidance that it is of.

    Another model or scheduler is found at a run's first call. Guidance, eta and size are not asked
    for but seen: in what the scheduler is given at the first step, beside what the model
    returned. A negative prompt is seen as guidance is; what it and the prompt say is not.

    Args:
        learned: rows of the calibration.
        identity: identity of what was calibrated.
        guidance: scale at which the pipeline combined its branches; 1 where the model has a single
            one, None where it is not known, or where the rows are of several scales.
        guidance_2: scale at which it did where the second of two models answered, likewise.
        elements: least and greatest number of elements of one sample that was calibrated; None
            where they are not known.
        on_mismatch: what becomes of a run that the rows were not fitted for: `raise` refuses it,
            `warn` uses the rows all the same, `taylor` warns and forecasts with Taylor of order 1.
    """

    learned: Rows
    identity: Identity
    guidance: float | None = None
    guidance_2: float | None = None
    elements: tuple[int, int] | None = None
    on_mismatch: OnMismatch = "raise"

    def __str__(self) -> str:
        return str(self.learned)

    @property
    def depth(self) -> int:
        return self.learned.depth

    @property
    def fitted(self) -> bool:
        return True

    @property
    def total(self) -> int | None:
        return self.learned.total

    @property
    def needs(self) -> frozenset[Need]:
        return frozenset({"sampling"})

    def check(self, total: int, computed: Sequence[int] | None) -> None:
        self.learned.check(total, computed)

    def weights(self, computed: Sequence[Step], target: Step) -> np.ndarray:
        return self.learned.weights(computed, target)

    def for_pipeline(self, pipeline: Any, model: nn.Module) -> Predictor:
        known = getattr(pipeline, "scheduler", None) is not None
        found = parts_of(pipeline) if known else {"model": Part.of(model)}
        try:
            self.identity.require(self.identity.model_copy(update=found))
        except CalibrationError as error:
            return self._instead(error)
        return self

    def for_sampling(self, sampling: Sampling) -> Predictor:
        try:
            self.identity.require_eta(sampling.eta)
        except CalibrationError as error:
            return self._instead(error)
        mine, its = self.guidance_2 if sampling.expert else self.guidance, sampling.guidance
        if sampling.expert == 0:
            self._warn_of_size(sampling.elements)
            if isinstance(self.learned, AcrossScales):
                return self._at(self.learned, its)
        if mine is None or its is None:
            return self
        if abs(its - mine) <= SAME_SCALE * mine:
            return self
        where = " where its second model answers" if sampling.expert else ""
        return self._instead(
            CalibrationError(
                f"the calibration is of guidance {mine:g}, but the pipeline combines its branches "
                f"at {its:.3g}{where}: ask the pipeline for {mine:g}, or calibrate at {its:.3g}"
            )
        )

    def _at(self, across: AcrossScales, scale: float | None) -> Predictor:
        """What forecasts a run of this scale."""
        try:
            return self.model_copy(update={"learned": across.at(scale)})
        except CalibrationError as error:
            nearest = self.model_copy(update={"learned": across.nearest(scale)})
            return nearest._instead(error)

    def _warn_of_size(self, elements: int | None) -> None:
        if self.elements is None or elements is None:
            return
        least, most = self.elements
        if not least <= elements <= most:
            warnings.warn(
                f"samples have {elements:,} elements, but the calibration is of "
                f"{' to '.join(f'{it:,}' for it in dict.fromkeys(self.elements))}: the rows are "
                "used all the same, but no figure is of this size; calibrate it too",
                ForecastCacheWarning,
                stacklevel=2,
            )

    def _instead(self, error: CalibrationError) -> Predictor:
        """What forecasts a run that the rows were not fitted for."""
        if self.on_mismatch == "raise":
            raise error
        used = "the rows are used all the same"
        instead: Predictor = self
        if self.on_mismatch == "taylor":
            instead = Taylor(min(1, self.depth - 1))
            used = f"{instead} forecasts in their place"
        warnings.warn(f"{error}; {used}", ForecastCacheWarning, stacklevel=2)
        return instead
