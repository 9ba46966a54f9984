"""Measure: what a method comes to, against a plain run beside it."""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import partial
from time import perf_counter
from typing import Any

import torch
from torch import Tensor

from forecastcache._moved import name_new_places
from forecastcache.calibration.fits import RANGE
from forecastcache.errors import RequestError
from forecastcache.evaluation.flops import Flops, counted
from forecastcache.evaluation.measurement import Measurement
from forecastcache.evaluation.method import Applied, Method
from forecastcache.evaluation.metrics import Perceptual, psnr, psnr_of_each, ssim
from forecastcache.evaluation.peak import Peak
from forecastcache.sampling.request import Request
from forecastcache.sampling.trajectory import trajectory_of
from forecastcache.zoo.scores import Scorer

name_new_places(__name__)


@dataclass(frozen=True)
class TimedCall:
    """One call of a pipeline that is timed, with nothing of ours in its way.

    Attributes:
        samples: pictures `(n, 3, h, w)` or clips `(n, frames, 3, h, w)` in [0, 1].
        seconds: duration of the whole call, decoding included.
        peak_bytes: most bytes that were held; None where the system does not tell.
    """

    samples: Tensor
    seconds: float
    peak_bytes: int | None

    @classmethod
    def of(cls, pipe: Any, request: Request, applied: Applied) -> TimedCall:
        """Make it.

        Args:
            pipe: a diffusers pipeline, with what is to be measured put on.
            request: the samples to ask the pipeline for.
            applied: the handle of the method that is on.
        """
        peak = Peak(pipe.device)
        started = perf_counter()
        samples = request.sample(pipe, **applied.changes)
        return cls(samples, perf_counter() - started, peak.bytes)


@dataclass(frozen=True)
class CountedRun:
    """A run with its FLOPs and latents recorded.

    Attributes:
        flops: operations of all but the decoder.
        latents: latents after every step.
    """

    flops: Flops
    latents: list[Tensor]

    @classmethod
    def of(cls, pipe: Any, request: Request, applied: Applied) -> CountedRun:
        """Make it; nothing is decoded where the pipeline can leave it out."""
        with trajectory_of(pipe) as trajectory:
            flops = counted(pipe, lambda: request.run(pipe, **applied.changes))
        return cls(flops, trajectory.samples[1:])


@dataclass(frozen=True)
class Measured:
    """A method's figures with the samples that they are of.

    Attributes:
        row: figures of the method.
        samples: samples of the method.
        plain: samples of the plain run beside it.
    """

    row: Measurement
    samples: Tensor
    plain: Tensor


class Measure:
    """Holds methods of sampling one request against the plain run.

    Args:
        pipe: a diffusers pipeline with nothing attached.
        request: the samples to ask the pipeline for.
        scorer: scorer of the samples, where there is one.
    """

    def __init__(self, pipe: Any, request: Request, scorer: Scorer | None = None) -> None:
        self._pipe, self._request, self._scorer = pipe, request, scorer
        self._perceptual = Perceptual()
        self._plain = CountedRun.of(pipe, request, Applied())
        # The decoder's are the same, whatever came before it: two steps make it quick to count
        # (of one alone, Qwen-Image's scheduler makes NaN).
        with_it, without = (
            counted(pipe, partial(call, pipe, num_inference_steps=2)).total
            for call in (request.sample, request.run)
        )
        self._decoding = with_it - without

    def __call__(self, method: Method) -> Measured:
        """Sample plainly and by `method`, in turn."""
        plain = TimedCall.of(self._pipe, self._request, Applied())
        with method.apply(self._pipe, self._request) as applied:
            call = TimedCall.of(self._pipe, self._request, applied)
            forecast = self._forecast(applied)
            run = CountedRun.of(self._pipe, self._request, applied)
        row = Measurement.of(
            method,
            samples=len(call.samples),
            **{**self._work(run.flops), **forecast},
            seconds=call.seconds,
            seconds_plain=plain.seconds,
            speedup=plain.seconds / call.seconds,
            peak_bytes=call.peak_bytes,
            peak_bytes_plain=plain.peak_bytes,
            **self._nearness(call.samples, plain.samples, run.latents),
            **self._scores(call.samples, plain.samples),
        )
        return Measured(row, call.samples, plain.samples)

    def _work(self, spent: Flops) -> dict[str, Any]:
        plain = self._plain.flops
        computed = spent.computed(plain)
        mine, whole = spent.total + self._decoding, plain.total + self._decoding
        return {
            "steps": len(spent.by_step),
            "computed": computed,
            "count": len(computed),
            "interval": len(plain.by_step) / len(computed) if computed else None,
            "flops": mine,
            "flops_plain": whole,
            "flops_ratio": whole / mine,
        }

    def _forecast(self, applied: Applied) -> dict[str, Any]:
        """What a session tells of the run that it has just forecast."""
        if applied.session is None:
            return {}
        report = applied.session.report()
        return {
            "predictor": report.predictor,
            "schedule": report.schedule,
            "site": report.site,
            "computed": report.computed,
            "count": len(report.computed),
            "interval": report.steps / len(report.computed),
            "ceiling": report.ceiling,
            "cache_bytes": report.cache_bytes,
            "cache_bytes_planned": report.cache_bytes_planned,
            "unplanned": report.unplanned,
        }

    def _nearness(self, samples: Tensor, plain: Tensor, latents: list[Tensor]) -> dict[str, Any]:
        near = psnr(samples, plain)
        alike = len(latents) == len(self._plain.latents)
        along = map(latent_psnr, latents, self._plain.latents) if alike else ()
        return {
            "latent_psnr_db": latent_psnr(latents[-1], self._plain.latents[-1]),
            "latent_psnr_by_step": tuple(along),
            "psnr_db": near if math.isfinite(near) else None,
            "psnr_db_by_sample": tuple(psnr_of_each(samples, plain)),
            "ssim": ssim(samples, plain),
            "lpips": self._perceptual(samples, plain),
            "lpips_missing": self._perceptual.missing,
        }

    def _scores(self, samples: Tensor, plain: Tensor) -> dict[str, Any]:
        if self._scorer is None or not self._scorer.legible(samples):
            return {}
        mine, its = self._scorer.score(samples), self._scorer.score(plain)
        return {
            "judged": mine.accuracy,
            "judged_plain": its.accuracy,
            "frechet": mine.frechet,
            "frechet_plain": its.frechet,
        }


def latent_psnr(latents: Tensor, plain: Tensor) -> float | None:
    """PSNR in dB with a data range of 2, mean over samples that differ; None if none does.

    Args:
        latents: latents of the method, `(n, ...)`.
        plain: latents of the plain run, `(n, ...)`.

    Raises:
        RequestError: they hold NaN or infinity.
    """
    errors = (latents - plain).double().square().flatten(1).mean(1)
    if not errors.isfinite().all():
        raise RequestError("the latents hold NaN or infinity: change what is asked")
    differing = errors[errors > 0]
    return float((10 * torch.log10(RANGE**2 / differing)).mean()) if len(differing) else None
