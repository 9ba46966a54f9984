"""Measure: what a method comes to, against a plain run beside it."""

from __future__ import annotations

import warnings
from dataclasses import dataclass
from functools import partial
from time import perf_counter
from typing import Any

import torch
from torch import Tensor

from forecastcache._moved import name_new_places
from forecastcache.calibration.distributed import ProcessGroup
from forecastcache.errors import ForecastCacheWarning
from forecastcache.evaluation.chosen_metrics import ChosenMetrics
from forecastcache.evaluation.flops import Flops, counted
from forecastcache.evaluation.measurement import Measurement
from forecastcache.evaluation.method import Applied, Method
from forecastcache.evaluation.peak import Peak
from forecastcache.metrics.latent_psnr import latent_psnr
from forecastcache.metrics.metric import Compared
from forecastcache.metrics.psnr import psnr_of_each
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

    def together(self, group: ProcessGroup) -> TimedCall:
        """The calls of all processes as one, which takes as long as the slowest of them."""
        if group.size == 1:
            return self
        every = group.gather(self)
        peaks = [it.peak_bytes for it in every if it.peak_bytes is not None]
        return TimedCall(
            torch.cat([it.samples for it in every]),
            max(it.seconds for it in every),
            max(peaks, default=None),
        )


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

    def together(self, group: ProcessGroup) -> CountedRun:
        """The runs of all processes as one."""
        if group.size == 1:
            return self
        every = group.gather(self)
        by_step = zip(*(it.flops.by_step for it in every))
        flops = Flops(sum(it.flops.total for it in every), tuple(map(sum, by_step)))
        return CountedRun(flops, [*map(torch.cat, zip(*(it.latents for it in every)))])


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
        scorer: scorer of the samples, where there is one; of those of all processes.
        metrics: metrics of the samples; None for those of every row.
        group: processes with a share of the samples each. Every one must ask for the same, and
            finds the figures of all samples: the seconds of the slowest and the bytes of the
            fullest process, operations of all.
    """

    def __init__(
        self,
        pipe: Any,
        request: Request,
        scorer: Scorer | None = None,
        metrics: ChosenMetrics | None = None,
        group: ProcessGroup = ProcessGroup(),  # noqa: B008  # frozen
    ) -> None:
        self._pipe, self._request, self._scorer, self._group = pipe, request, scorer, group
        self._metrics = ChosenMetrics() if metrics is None else metrics
        mine = tuple(request.arguments(pipe).get("prompt", ()))
        self._prompts = tuple(it for every in group.gather(mine) for it in every)
        self._plain = CountedRun.of(pipe, request, Applied()).together(group)
        # The decoder's are the same, whatever came before it: two steps make it quick to count
        # (of one alone, Qwen-Image's scheduler makes NaN).
        with_it, without = (
            counted(pipe, partial(call, pipe, num_inference_steps=2)).total
            for call in (request.sample, request.run)
        )
        self._decoding = sum(group.gather(with_it - without))

    def __call__(self, method: Method) -> Measured:
        """Sample plainly and by `method`, in turn."""
        plain = TimedCall.of(self._pipe, self._request, Applied())
        with method.apply(self._pipe, self._request) as applied:
            call = TimedCall.of(self._pipe, self._request, applied)
            forecast = self._forecast(applied)
            run = CountedRun.of(self._pipe, self._request, applied)
        plain, call = plain.together(self._group), call.together(self._group)
        run = run.together(self._group)
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
        return _of_all(
            self._group,
            {
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
            },
        )

    def _nearness(self, samples: Tensor, plain: Tensor, latents: list[Tensor]) -> dict[str, Any]:
        alike = len(latents) == len(self._plain.latents)
        along = map(latent_psnr, latents, self._plain.latents) if alike else ()
        compared = Compared(samples, plain, latents[-1], self._plain.latents[-1], self._prompts)
        return {
            "latent_psnr_by_step": tuple(along),
            "psnr_db_by_sample": tuple(psnr_of_each(samples, plain)),
            **self._metrics.figures(compared),
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


def _of_all(group: ProcessGroup, mine: dict[str, Any]) -> dict[str, Any]:
    """What the sessions of all processes tell: the most bytes that one of them holds."""
    every = group.gather(mine)
    others = [it["computed"] for it in every if it["computed"] != mine["computed"]]
    if group.is_main and others:
        one, another = (" ".join(map(str, steps)) for steps in (mine["computed"], others[0]))
        warnings.warn(
            f"one process computed the steps {one} and another {another}: this schedule decides "
            "by the samples of a call, so that pictures are not those of one process",
            ForecastCacheWarning,
            stacklevel=4,
        )
    fullest = max(every, key=lambda it: it["cache_bytes"])
    bytes_held = ("cache_bytes", "cache_bytes_planned", "unplanned")
    return {**every[0], **{name: fullest[name] for name in bytes_held}}
