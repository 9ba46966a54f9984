"""Summary: what an accelerated pipeline has done, in a few lines."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from forecastcache.accelerated.fewer_steps import BesideFewerSteps
from forecastcache.memory.budget import in_mebibytes


@dataclass(frozen=True)
class Summary:
    """What was learned and done; it prints as text.

    Attributes:
        pipeline: class of the pipeline.
        goal: goal in words.
        state: state of the scope of the newest call, in words.
        computed: computed steps of the newest accelerated call.
        steps: number of steps of that call; None where none was accelerated.
        latent_psnr_db: PSNR in dB of the final latents to the plain run's, as it was rolled on
            samples that the rows were not fitted to; None where nothing was learned.
        cache_bytes: bytes that histories held.
        drift: how many times what they missed on the samples learned from the forecasts of the
            newest accelerated call would have missed at its computed steps, of the worst sample.
        plain_seconds: seconds of a plain call, typically; None where there was none.
        fast_seconds: seconds of an accelerated call, likewise.
        plain_calls: number of plain calls that were recorded.
        fast_calls: number of accelerated calls.
        fit_seconds: seconds of the newest fit; None where there was none.
        fit_plain_runs: evaluations that it took, as plain runs of the pictures learned from.
        fewer_steps: that fit beside fewer steps; None where it leaves no doubt.
    """

    pipeline: str
    goal: str
    state: str
    computed: tuple[int, ...]
    steps: int | None
    latent_psnr_db: float | None
    cache_bytes: int
    drift: Mapping[int, float]
    plain_seconds: float | None
    fast_seconds: float | None
    fit_seconds: float | None
    fit_plain_runs: float | None
    fewer_steps: BesideFewerSteps | None = None
    plain_calls: int = 0
    fast_calls: int = 0

    @property
    def lines(self) -> Sequence[str]:
        """The text, line by line."""
        found = [f"{self.pipeline}, {self.goal}: {self.state}"]
        if self.steps is not None:
            shown = " ".join(map(str, self.computed))
            found.append(f"computed {len(self.computed)} of {self.steps} steps: {shown}")
        if self.latent_psnr_db is not None:
            found.append(
                f"latent PSNR {self.latent_psnr_db:.1f} dB to the plain run, rolled on pictures "
                "that the rows were not fitted to"
            )
        if self.fit_seconds is not None and self.fit_plain_runs is not None:
            found.append(
                f"fitted in {self.fit_seconds:.1f} s, {self.fit_plain_runs:.1f} plain runs of the "
                "pictures learned from"
            )
        if self.fewer_steps is not None:
            found.append(self.fewer_steps.advice or str(self.fewer_steps))
        if self.plain_seconds is not None:
            found.append(f"plain {self.plain_seconds:.2f} s a call")
        if self.fast_seconds is not None:
            faster = ""
            if self.plain_seconds is not None:
                faster = f", {self.plain_seconds / self.fast_seconds:.1f} times faster"
            found.append(f"accelerated {self.fast_seconds:.2f} s a call{faster}")
            if self.drift:
                worst = max(self.drift.values())
                found.append(f"forecasts missed at most {worst:.1f} times what was expected")
            found.append(f"histories held {in_mebibytes(self.cache_bytes)}")
        return found

    def __str__(self) -> str:
        return "\n".join(self.lines)
