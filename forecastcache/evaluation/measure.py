"""Measure: what a way of sampling comes to, against a plain run beside it."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from functools import partial
from time import perf_counter
from typing import Any

import torch
from torch import Tensor

from forecastcache.calibration.sizes import RANGE
from forecastcache.entry import Applied, Entry
from forecastcache.evaluation.entries import Plain
from forecastcache.evaluation.flops import Flops, counted
from forecastcache.evaluation.metrics import Perceptual, psnr, ssim
from forecastcache.evaluation.peak import Peak
from forecastcache.sampling import Request, RequestError
from forecastcache.track import tracked
from forecastcache.zoo.appraisal import Critic, legible


@dataclass(frozen=True)
class Call:
    """One call of a pipeline, with nothing of ours in its way.

    Attributes:
        samples: pictures `(n, 3, h, w)` or clips `(n, frames, 3, h, w)` in [0, 1].
        seconds: of the whole call, decoding included.
        peak_bytes: most that was held; None where the system does not tell.
    """

    samples: Tensor
    seconds: float
    peak_bytes: int | None

    @classmethod
    def of(cls, pipe: Any, request: Request, applied: Applied) -> Call:
        """Make it.

        Args:
            pipe: a diffusers pipeline, with what is to be measured put on.
            request: what to ask it for.
            applied: what was put on.
        """
        peak = Peak(pipe.device)
        started = perf_counter()
        samples = request.sample(pipe, **applied.changes)
        return cls(samples, perf_counter() - started, peak.bytes)


@dataclass(frozen=True)
class Inside:
    """The same call again, looked into.

    Attributes:
        flops: of all but the decoder.
        latents: after every step.
    """

    flops: Flops
    latents: list[Tensor]

    @classmethod
    def of(cls, pipe: Any, request: Request, applied: Applied) -> Inside:
        """Make it; nothing is decoded where the pipeline can leave it out."""
        with tracked(pipe) as track:
            flops = counted(pipe, lambda: request.run(pipe, **applied.changes))
        return cls(flops, track.samples[1:])


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
        self._plain = Inside.of(pipe, request, Applied())
        # The decoder's are the same, whatever came before it; one step makes it quick to count.
        with_it, without = (
            counted(pipe, partial(call, pipe, num_inference_steps=1)).total
            for call in (request.sample, request.run)
        )
        self._decoding = with_it - without

    def __call__(self, entry: Entry) -> tuple[dict[str, Any], Tensor]:
        """Sample plainly and by `entry`, in turn.

        Returns:
            The figures, ready for JSON, of which PSNR is None where nothing differs; and the
            samples.
        """
        with Plain().on(self._pipe, self._request) as applied:
            plain = Call.of(self._pipe, self._request, applied)
        with entry.on(self._pipe, self._request) as applied:
            call = Call.of(self._pipe, self._request, applied)
            report = applied.session and applied.session.report()
            inside = Inside.of(self._pipe, self._request, applied)
        figures = {
            **self._work(inside.flops),
            "seconds": call.seconds,
            "seconds_plain": plain.seconds,
            "speedup": plain.seconds / call.seconds,
            "cache_bytes": report.cache_bytes if report else None,
            "cache_bytes_planned": report.cache_bytes_planned if report else None,
            "peak_bytes": call.peak_bytes,
            "peak_bytes_plain": plain.peak_bytes,
            **self._fidelity(call.samples, plain.samples, inside.latents),
        }
        return figures, call.samples

    def _work(self, spent: Flops) -> Mapping[str, Any]:
        plain = self._plain.flops
        computed = spent.computed(plain)
        mine, whole = spent.total + self._decoding, plain.total + self._decoding
        return {
            "steps": len(spent.by_step),
            "computed": computed,
            "interval": len(plain.by_step) / computed if computed else None,
            "flops": mine,
            "flops_plain": whole,
            "flops_ratio": whole / mine,
        }

    def _fidelity(
        self, samples: Tensor, plain: Tensor, latents: list[Tensor]
    ) -> Mapping[str, Any]:
        lpips = self._perceptual(samples, plain)
        judge = self._critic if legible(samples) else None
        scores = judge.score(samples) if judge else None
        near = psnr(samples, plain)
        alike = len(latents) == len(self._plain.latents)
        along = map(latent_psnr, latents, self._plain.latents) if alike else ()
        return {
            "psnr_db": near if math.isfinite(near) else None,
            "ssim": ssim(samples, plain),
            "lpips": lpips,
            "lpips_missing": self._perceptual.missing,
            "latent_psnr_db": latent_psnr(latents[-1], self._plain.latents[-1]),
            "latent_psnr_by_step": list(along),
            "judged": scores and scores.accuracy,
            "frechet": scores and scores.frechet,
        }


def latent_psnr(latents: Tensor, plain: Tensor) -> float | None:
    """PSNR in dB with a data range of 2, mean over samples that differ; None if none does.

    Args:
        latents: `(n, ...)`.
        plain: likewise.

    Raises:
        RequestError: they hold NaN or infinity.
    """
    errors = (latents - plain).double().square().flatten(1).mean(1)
    if not errors.isfinite().all():
        raise RequestError("the latents hold NaN or infinity: change what is asked")
    differing = errors[errors > 0]
    return float((10 * torch.log10(RANGE**2 / differing)).mean()) if len(differing) else None
