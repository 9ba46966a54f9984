"""Measurement: the figures of one method, as tables, charts and files have them."""

from __future__ import annotations

from typing import Any

from pydantic import BaseModel, ConfigDict

from forecastcache.evaluation.method import Kind, Method


class Measurement(BaseModel):
    """The figures of one method beside the plain run, ready for JSON.

    A ratio of samples that do not differ is None, and so is a figure that the method does not
    have; where the method failed, all are.

    Attributes:
        name: name of the method.
        kind: kind of the method.
        line: name of its line in a chart.
        error: reason why the method failed; None where it did not.
        samples: number of samples.
        predictor: predictor of a forecast run.
        schedule: schedule of a forecast run.
        site: granularity of a forecast run.
        steps: number of steps of the run.
        computed: steps in which the network ran, for a forecast run by its session's report, else
            those with at least half of a plain step's operations.
        count: number of computed steps.
        interval: mean distance between computed steps, in steps.
        ceiling: speedup of the network if forecasts took no time.
        seconds: seconds of one whole call, text encoder and decoder included.
        seconds_plain: seconds of the plain call beside it.
        speedup: plain seconds by these.
        flops: operations of one whole call.
        flops_plain: operations of the plain call.
        flops_ratio: plain operations by these.
        cache_bytes: most bytes that the histories held at a time, measured.
        cache_bytes_planned: the same bytes, planned from shapes.
        unplanned: reason why bytes could not be planned.
        peak_bytes: most bytes that were held during the call.
        peak_bytes_plain: most bytes that were held during the plain call.
        latent_psnr_db: PSNR of the final latents to the plain run's, data range 2, in dB.
        latent_psnr_by_step: the same after every step; empty where the runs differ in length.
        lead_db: latent PSNR less that of the best baseline of no more operations than the row's
            own, in dB.
        psnr_db: PSNR of the decoded samples to the plain run's, data range 1, in dB.
        psnr_db_by_sample: the same of each sample, None for one that is equal.
        ssim: structural similarity of the decoded samples.
        lpips: perceptual distance of the decoded samples.
        lpips_missing: reason why there is no LPIPS.
        metrics: figures of further metrics that were asked for, by name.
        judged: share of the samples that are what was asked for (zoo models).
        judged_plain: the same share of the plain samples.
        frechet: Frechet distance of the samples to real ones (zoo models).
        frechet_plain: the same distance of the plain samples.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    name: str
    kind: Kind
    line: str
    error: str | None = None
    samples: int | None = None
    predictor: str | None = None
    schedule: str | None = None
    site: str | None = None
    steps: int | None = None
    computed: tuple[int, ...] | None = None
    count: int | None = None
    interval: float | None = None
    ceiling: float | None = None
    seconds: float | None = None
    seconds_plain: float | None = None
    speedup: float | None = None
    flops: int | None = None
    flops_plain: int | None = None
    flops_ratio: float | None = None
    cache_bytes: int | None = None
    cache_bytes_planned: int | None = None
    unplanned: str | None = None
    peak_bytes: int | None = None
    peak_bytes_plain: int | None = None
    latent_psnr_db: float | None = None
    latent_psnr_by_step: tuple[float | None, ...] = ()
    lead_db: float | None = None
    psnr_db: float | None = None
    psnr_db_by_sample: tuple[float | None, ...] = ()
    ssim: float | None = None
    lpips: float | None = None
    lpips_missing: str | None = None
    metrics: dict[str, float | None] = {}
    judged: float | None = None
    judged_plain: float | None = None
    frechet: float | None = None
    frechet_plain: float | None = None

    @classmethod
    def of(cls, method: Method, **figures: Any) -> Measurement:
        """The figures of `method`."""
        return cls(name=method.name, kind=method.kind, line=method.line, **figures)

    @property
    def failed(self) -> bool:
        """Whether the method failed."""
        return self.error is not None

    def figures(self) -> dict[str, Any]:
        """Every figure, ready for JSON."""
        return self.model_dump(mode="json")
