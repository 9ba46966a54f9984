"""One model sampled twice, plainly and with forecasting, from the same seeds."""

from __future__ import annotations

import math
from dataclasses import dataclass
from time import perf_counter
from typing import Any

from torch import Tensor

from forecastcache.adapter import Granularity
from forecastcache.attachment import attach
from forecastcache.evaluation.metrics import psnr, ssim
from forecastcache.predictor import Predictor
from forecastcache.report import Report
from forecastcache.sampling import Request
from forecastcache.schedule import Schedule
from forecastcache.zoo.appraisal import Scores, critic, legible


@dataclass(frozen=True)
class Comparison:
    """What forecasting did to one request.

    Attributes:
        plain: of the plain run, pictures `(n, 3, h, w)` or clips `(n, frames, 3, h, w)` in [0, 1].
        forecast: of the forecast run, likewise.
        seconds_plain: of the whole plain call, decoding included.
        seconds_forecast: of the whole forecast call.
        report: of the forecast run.
        scores_plain: of a zoo model's samples; None where there is no judge.
        scores_forecast: likewise.
    """

    plain: Tensor
    forecast: Tensor
    seconds_plain: float
    seconds_forecast: float
    report: Report
    scores_plain: Scores | None
    scores_forecast: Scores | None

    @property
    def speedup(self) -> float:
        """How many times faster the forecast call was."""
        return self.seconds_plain / self.seconds_forecast

    @property
    def psnr_db(self) -> float | None:
        """PSNR against the plain run in dB; None if all pictures are identical."""
        ratio = psnr(self.forecast, self.plain)
        return ratio if math.isfinite(ratio) else None

    @property
    def ssim(self) -> float:
        """Structural similarity to the plain run."""
        return ssim(self.forecast, self.plain)

    def figures(self) -> dict[str, Any]:
        """Every figure, ready for JSON."""
        return {
            "site": self.report.site,
            "predictor": self.report.predictor,
            "schedule": self.report.schedule,
            "count": len(self.plain),
            "steps": self.report.steps,
            "computed": list(self.report.computed),
            "seconds_plain": self.seconds_plain,
            "seconds_forecast": self.seconds_forecast,
            "speedup": self.speedup,
            "ceiling": self.report.ceiling,
            "flops_plain": self.report.flops_plain,
            "flops_forecast": self.report.flops,
            "psnr_db": self.psnr_db,
            "ssim": self.ssim,
            "judged_plain": self.scores_plain and self.scores_plain.accuracy,
            "judged_forecast": self.scores_forecast and self.scores_forecast.accuracy,
            "frechet_plain": self.scores_plain and self.scores_plain.frechet,
            "frechet_forecast": self.scores_forecast and self.scores_forecast.frechet,
            "cache_bytes": self.report.cache_bytes,
            "cache_bytes_planned": self.report.cache_bytes_planned,
        }


def compare(
    pipe: Any,
    request: Request,
    schedule: Schedule,
    predictor: Predictor,
    site: Granularity,
    zoo_model: str | None = None,
) -> Comparison:
    """Sample `request` plainly and forecast; both are warmed up by two plain steps.

    Args:
        pipe: a diffusers pipeline that returns images or frames.
        request: what to ask it for.
        schedule: which steps are computed.
        predictor: how the others are filled in.
        site: what is forecast.
        zoo_model: name of the zoo model that `pipe` is, whose judge then scores both.

    Raises:
        AttachError: as `attach` does, before anything is sampled.
    """
    attach(pipe, schedule, predictor, site=site).detach()  # to refuse before the first run
    pipe.set_progress_bar_config(desc="warm-up")
    request.sample(pipe, num_inference_steps=2)
    plain, seconds_plain = _sample(pipe, request, "plain")
    with attach(pipe, schedule, predictor, site=site) as session:
        forecast, seconds_forecast = _sample(pipe, request, "forecast")
    report = session.report()
    scores = (
        (None, None) if zoo_model is None else _judge(zoo_model, pipe, request, plain, forecast)
    )
    return Comparison(plain, forecast, seconds_plain, seconds_forecast, report, *scores)


def _sample(pipe: Any, request: Request, label: str) -> tuple[Tensor, float]:
    pipe.set_progress_bar_config(desc=label)
    started = perf_counter()
    return request.sample(pipe), perf_counter() - started


def _judge(
    zoo_model: str, pipe: Any, request: Request, plain: Tensor, forecast: Tensor
) -> tuple[Scores | None, Scores | None]:
    if not legible(plain):
        return None, None
    judge = critic(zoo_model, request.arguments(pipe))
    return judge.score(plain), judge.score(forecast)
