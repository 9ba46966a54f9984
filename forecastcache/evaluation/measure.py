"""Measure: what a way of sampling comes to, against a plain run beside it."""

from __future__ import annotations

import math
from time import perf_counter
from typing import Any

import torch
from torch import Tensor
from torch.utils.flop_counter import FlopCounterMode

from forecastcache.evaluation.entries import Applied, Entry
from forecastcache.evaluation.metrics import psnr, ssim
from forecastcache.sampling import Request
from forecastcache.track import Track, tracked
from forecastcache.zoo.appraisal import Critic, legible

RANGE = 2.0  # of latents, as of pictures in [-1, 1]


def measure(
    pipe: Any, request: Request, entry: Entry, critic: Critic | None = None
) -> dict[str, Any]:
    """Sample plainly and by `entry`, in turn, and hold one against the other.

    Args:
        pipe: a diffusers pipeline with nothing attached.
        request: what to ask it for; the same for every entry of an evaluation.
        entry: the way of sampling.
        critic: that judges the samples, where there is one.

    Returns:
        The figures, ready for JSON: seconds of both calls, PSNR and SSIM of the pictures, PSNR of
        the latents at the end and after every step, FLOPs of one sample, the bytes of the cache.
    """
    with tracked(pipe, None) as plain_track:
        plain, seconds_plain = _timed(pipe, request, Applied())
    with entry.on(pipe) as applied, tracked(pipe, None) as track:
        samples, seconds = _timed(pipe, request, applied)
    report = applied.session and applied.session.report()
    steps = applied.changes.get("num_inference_steps", request.steps)
    near = psnr(samples, plain)
    scores = critic.score(samples) if critic and legible(samples) else None
    along = _latent_psnr(track, plain_track) if steps == request.steps else []
    return {
        "name": entry.name,
        "kind": entry.kind,
        "steps": steps,
        "computed": len(report.computed) if report else None,
        "seconds": seconds,
        "seconds_plain": seconds_plain,
        "speedup": seconds_plain / seconds,
        "psnr_db": near if math.isfinite(near) else None,
        "ssim": ssim(samples, plain),
        "latent_psnr_db": _finite(_near(track.samples[-1], plain_track.samples[-1])),
        "latent_psnr_by_step": along,
        "judged": scores and scores.accuracy,
        "frechet": scores and scores.frechet,
        "cache_bytes": report and report.cache_bytes,
        "cache_bytes_planned": report and report.cache_bytes_planned,
        "peak_bytes": _peak(pipe),
    }


def flops(pipe: Any, request: Request, entry: Entry | None = None) -> int:
    """Of one whole call for one sample, as torch's FLOP counter counts them."""
    (one, *_) = request.split(pipe, 1)
    if entry is None:
        return _counted(pipe, one, Applied())
    with entry.on(pipe) as applied:
        return _counted(pipe, one, applied)


def _counted(pipe: Any, request: Request, applied: Applied) -> int:
    with FlopCounterMode(display=False) as counter:
        request.sample(pipe, **applied.changes)
    return int(counter.get_total_flops())


def _timed(pipe: Any, request: Request, applied: Applied) -> tuple[Tensor, float]:
    if torch.cuda.is_available():
        torch.cuda.reset_peak_memory_stats()
    started = perf_counter()
    samples = request.sample(pipe, **applied.changes)
    return samples, perf_counter() - started


def _latent_psnr(track: Track, plain: Track) -> list[float | None]:
    return [_finite(_near(mine, its)) for mine, its in zip(track.samples[1:], plain.samples[1:])]


def _near(latents: Tensor, plain: Tensor) -> float:
    """PSNR in dB, mean over samples."""
    errors = (latents - plain).double().square().flatten(1).mean(1)
    return float((10 * (RANGE**2 / errors).log10()).mean())


def _finite(value: float) -> float | None:
    return value if math.isfinite(value) else None


def _peak(pipe: Any) -> int | None:
    """Bytes that torch held on the pipeline's GPU at the most; None on other devices."""
    return torch.cuda.max_memory_allocated() if pipe.device.type == "cuda" else None
