"""Identity: what a calibration is of, so that it is not used for something else."""

from __future__ import annotations

import hashlib
import inspect
import json
import warnings
from importlib.metadata import version
from typing import Annotated, Any

from pydantic import BaseModel, ConfigDict, Field, FiniteFloat

from forecastcache._util.fingerprint import weights_fingerprint
from forecastcache.engine.attach import denoisers
from forecastcache.errors import CalibrationError, ForecastCacheWarning


class Part(BaseModel):
    """A model or scheduler: its class and what its configuration comes to.

    Attributes:
        name: name of the class.
        config: first 16 digits of the SHA-256 of its configuration.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")
    name: str
    config: str

    @classmethod
    def of(cls, thing: Any) -> Part:
        """The identity of anything that has a diffusers config.

        How weights are quantised is left to their fingerprint: quantised after loading, they
        leave no mark in the configuration.
        """
        config = dict(getattr(thing, "config", {}))
        kept = {
            key: value
            for key, value in sorted(config.items())
            if not key.startswith("_") and key != "quantization_config"
        }
        text = json.dumps(kept, sort_keys=True, default=str)
        return cls(
            name=type(thing).__name__, config=hashlib.sha256(text.encode()).hexdigest()[:16]
        )


class Identity(BaseModel):
    """What was calibrated.

    Attributes:
        model: class and configuration of the network; of the first of two that take turns.
        second: class and configuration of the other one; None where there is none.
        boundary: part of the times of training below which the other one answers; None where
            there is none.
        scheduler: class and configuration of the sampler.
        steps: number of steps of a trajectory.
        guidance: guidance scale that was asked for; None for the pipeline's own.
        guidance_2: guidance scale that was asked for where the second network answers; None for
            that of the first.
        scales: guidance scales of all requests, the one above first; empty where it is the only
            one.
        eta: part of the noise of a DDPM step that the sampler draws at each of its own, as DDIM
            does when it is asked to.
        weights: fingerprint of the weights of all networks; None where they were not in memory.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")
    model: Part
    scheduler: Part
    steps: Annotated[int, Field(gt=0)]
    guidance: FiniteFloat | None
    scales: tuple[FiniteFloat, ...] = ()
    weights: str | None = None
    eta: Annotated[FiniteFloat, Field(ge=0)] = 0.0
    second: Part | None = None
    boundary: FiniteFloat | None = None
    guidance_2: FiniteFloat | None = None

    @classmethod
    def of(
        cls,
        pipe: Any,
        steps: int,
        guidance: float | None,
        eta: float = 0.0,
        guidance_2: float | None = None,
    ) -> Identity:
        """The identity of a pipeline and what it is asked for.

        Eta is 0 for a scheduler that takes none: pipelines do not hand it on to such.
        """
        taken = "eta" in inspect.signature(pipe.scheduler.step).parameters
        return cls(
            **parts_of(pipe),
            steps=steps,
            guidance=guidance,
            weights=weights_fingerprint(*denoisers(pipe)[0]),
            eta=eta if taken else 0.0,
            guidance_2=None if guidance_2 == guidance else guidance_2,
        )

    def seen(self, guided_outside: bool) -> tuple[float | None, float | None]:
        """The scales that branches are seen to be combined at, by the first and second network.

        1 for a single branch; None where it is not known, or where there are several.

        Args:
            guided_outside: whether the scheduler is given something else than the whole output.
        """
        if not guided_outside:
            return 1.0, 1.0
        asked = None if self.scales else self.guidance
        first = None if asked is None else as_seen(asked)
        if self.guidance_2 is None:
            return first, first
        # Which of the branches comes first is not seen.
        return first, max(self.guidance_2, 1 - self.guidance_2)

    def require(self, other: Identity) -> None:
        """Refuse another pipeline or request, naming the difference and what to do.

        Other weights of the same network are warned of: rows that were fitted before a LoRA or a
        quantisation may still serve, but nothing that the file foretells is of them.

        Raises:
            CalibrationError: they differ.
        """
        self._require_turns(other)
        for what, mine, its in (
            ("model", self.model, other.model),
            ("second model", self.second, other.second),
            ("scheduler", self.scheduler, other.scheduler),
        ):
            if mine is None or its is None:
                continue
            if mine.name != its.name:
                raise CalibrationError(
                    f"the calibration is of the {what} {mine.name}, but this is {its.name}: "
                    f"calibrate this one, or load a pipeline with {mine.name}"
                )
            if mine != its:
                raise CalibrationError(
                    f"the calibration is of a {mine.name} of another configuration: calibrate "
                    f"this one, or load the {what} that it was made with"
                )
        self.require_steps(other.steps)
        self._require_guidance(other.guidance)
        self._require_guidance_2(other.guidance_2)
        self.require_eta(other.eta)
        if None not in (self.weights, other.weights) and self.weights != other.weights:
            warnings.warn(
                f"the calibration is of other weights of {self.model.name}: its figures are not "
                "of these; calibrate this one to be sure",
                ForecastCacheWarning,
                stacklevel=2,
            )

    def _require_guidance(self, asked: float | None) -> None:
        mine = str(self.guidance)
        if self.scales:
            low, high = min(self.scales), max(self.scales)
            if asked is None or as_seen(low) <= as_seen(asked) <= as_seen(high):
                return  # the scale that is seen in a run decides
            mine = f"{low:g} to {high:g}"
        elif self.guidance == asked:
            return
        raise CalibrationError(
            f"the calibration is of guidance {mine}, but {asked} is asked for: ask for {mine}, "
            f"or calibrate with --guidance-scale {asked}"
        )

    def _require_turns(self, other: Identity) -> None:
        """Refuse networks that take turns where these do not, or elsewhere."""
        if self.boundary == other.boundary:
            return
        mine, its = (_turns_in_words(each.boundary) for each in (self, other))
        raise CalibrationError(
            f"the calibration is of {mine}, but this pipeline has {its}: calibrate this one, or "
            "give it the same boundary_ratio"
        )

    def _require_guidance_2(self, asked: float | None) -> None:
        if self.guidance_2 != asked:
            mine, its = (
                "guidance_scale_2 as guidance_scale" if it is None else f"guidance_scale_2={it:g}"
                for it in (self.guidance_2, asked)
            )
            raise CalibrationError(
                f"the calibration is of {mine}, but {its} is asked for: ask for the same, or "
                "calibrate with it"
            )

    def require_steps(self, steps: int) -> None:
        """Refuse trajectories of another length.

        Raises:
            CalibrationError: they are.
        """
        if self.steps != steps:
            raise CalibrationError(
                f"the calibration is of {self.steps} steps, but {steps} are asked for: ask for "
                f"{self.steps}, or calibrate with --steps {steps}"
            )

    def require_eta(self, eta: float) -> None:
        """Refuse a sampler that draws another part of noise.

        Raises:
            CalibrationError: it does.
        """
        if self.eta != eta:
            raise CalibrationError(
                f"the calibration is of eta={self.eta:g}, but the sampler is asked for noise at "
                f"every step by eta={eta:g}: ask for eta={self.eta:g}, or calibrate with "
                f"eta={eta:g}"
            )


def parts_of(pipe: Any) -> dict[str, Any]:
    """What a pipeline consists of, by the names of an identity: networks, turns, sampler."""
    models, _ = denoisers(pipe)
    boundary = getattr(pipe, "config", {}).get("boundary_ratio") if len(models) > 1 else None
    return {
        "model": Part.of(models[0]),
        "second": None if boundary is None else Part.of(models[1]),
        "boundary": boundary,
        "scheduler": Part.of(pipe.scheduler),
    }


def _turns_in_words(boundary: float | None) -> str:
    return "one model" if boundary is None else f"two models that take turns at {boundary:g}"


def as_seen(guidance: float) -> float:
    """The scale that is seen of one that is asked for: up to 1, pipelines leave guidance out."""
    return max(guidance, 1.0)


def versions() -> dict[str, str]:
    """Versions of the libraries that a calibration is made with."""
    return {library: version(library) for library in ("torch", "diffusers", "numpy")}
