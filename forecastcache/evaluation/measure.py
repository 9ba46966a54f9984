"""Measure: what a way of sampling comes to, against a plain run beside it."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from time import perf_counter
from typing import Any

from torch import Tensor

from forecastcache.entry import Applied, Entry
from forecastcache.evaluation.entries import Plain
from forecastcache.evaluation.flops import Flops, counted
from forecastcache.evaluation.metrics import Perceptual, psnr, ssim
from forecastcache.evaluation.peak import Peak
from forecastcache.report import Report
from forecastcache.sampling import Request
from forecastcache.track import Track, tracked
from forecastcache.zoo.appraisal import Critic, legible

RANGE = 2.0  # of latents, as of pictures in [-1, 1]


@dataclass(frozen=True)
class Call:
    """One call of a pipeline.

    Attributes:
        samples: pictures `(n, 3, h, w)` or clips `(n, frames, 3, h, w)` in [0, 1].
        track: the latents on the way to them.
        steps: of the sampler.
        seconds: of the whole call, decoding included.
        peak_bytes: most that was held; None where the system does not tell.
        report: of a forecast run.
    """

    samples: Tensor
    track: Track
    steps: int
    seconds: float
    peak_bytes: int | None
    report: Report | None

    @classmethod
    def of(cls, pipe: Any, request: Request, applied: Applied) -> Call:
        """Make it.

        Args:
            pipe: a diffusers pipeline, with what is to be measured put on.
            request: what to ask it for.
            applied: what was put on.
        """
        with tracked(pipe, None) as track:
            peak = Peak(pipe.device)
            started = perf_counter()
            samples = request.sample(pipe, **applied.changes)
            seconds = perf_counter() - started
        steps = applied.changes.get("num_inference_steps", request.steps)
        report = applied.session.report() if applied.session else None
        return cls(samples, track, steps, seconds, peak.bytes, report)


class Measure:
    """Holds ways of sampling one request against the plain run.

    Args:
        pipe: a diffusers pipeline with nothing attached.
        request: what to ask it for.
        critic: that judges the samples, where there is one.
    """

    def __init__(self, pipe: Any, request: Request, critic: Critic | None = None) -> None:
        self._pipe, self._request, self._critic = pipe, request, critic
        self._perceptual = Perceptual()
        request.sample(pipe, num_inference_steps=2)  # what is called first is slow
        whole = counted(pipe, lambda: request.sample(pipe))
        self._flops = self._spent(Plain())
        self._decoding = whole.total - self._flops.total  # the same, whatever came before it

    def __call__(self, entry: Entry) -> tuple[dict[str, Any], Tensor]:
        """Sample plainly and by `entry`, in turn.

        Returns:
            The figures, ready for JSON, of which PSNR is None where nothing differs; and the
            samples.
        """
        plain = Call.of(self._pipe, self._request, Applied())
        with entry.on(self._pipe, self._request) as applied:
            call = Call.of(self._pipe, self._request, applied)
        spent = self._spent(entry)
        report = call.report
        computed = len(report.computed) if report else spent.computed(self._flops)
        figures = {
            "steps": call.steps,
            "computed": computed,
            "interval": plain.steps / computed if computed else None,
            "seconds": call.seconds,
            "seconds_plain": plain.seconds,
            "speedup": plain.seconds / call.seconds,
            "cache_bytes": report and report.cache_bytes,
            "cache_bytes_planned": report and report.cache_bytes_planned,
            "peak_bytes": call.peak_bytes,
            "peak_bytes_plain": plain.peak_bytes,
            **self._costs(spent),
            **self._fidelity(call, plain),
        }
        return figures, call.samples

    def _spent(self, entry: Entry) -> Flops:
        with entry.on(self._pipe, self._request) as applied:
            return counted(self._pipe, lambda: self._request.run(self._pipe, **applied.changes))

    def _costs(self, spent: Flops) -> Mapping[str, Any]:
        plain, mine = (it.total + self._decoding for it in (self._flops, spent))
        return {"flops": mine, "flops_plain": plain, "flops_ratio": plain / mine}

    def _fidelity(self, call: Call, plain: Call) -> Mapping[str, Any]:
        lpips = self._perceptual(call.samples, plain.samples)
        judge = self._critic if legible(call.samples) else None
        scores = judge and judge.score(call.samples)
        alike = call.steps == plain.steps
        return {
            "psnr_db": _finite(psnr(call.samples, plain.samples)),
            "ssim": ssim(call.samples, plain.samples),
            "lpips": lpips,
            "lpips_missing": self._perceptual.missing,
            "latent_psnr_db": latent_psnr(call.track.samples[-1], plain.track.samples[-1]),
            "latent_psnr_by_step": _by_step(call.track, plain.track) if alike else [],
            "judged": scores and scores.accuracy,
            "frechet": scores and scores.frechet,
        }


def latent_psnr(latents: Tensor, plain: Tensor) -> float | None:
    """PSNR in dB with a data range of 2, mean over samples; None if one of them is identical."""
    errors = (latents - plain).double().square().flatten(1).mean(1)
    return _finite(float((10 * (RANGE**2 / errors).log10()).mean()))


def _by_step(track: Track, plain: Track) -> list[float | None]:
    return [latent_psnr(mine, its) for mine, its in zip(track.samples[1:], plain.samples[1:])]


def _finite(value: float) -> float | None:
    return value if math.isfinite(value) else None
