"""PSNR of the final latents, before they are decoded."""

from __future__ import annotations

from typing import ClassVar

import torch
from torch import Tensor

from forecastcache.calibration.fits import RANGE
from forecastcache.errors import RequestError
from forecastcache.metrics.metric import Compared, Metric


class LatentPSNR(Metric):
    """PSNR of the final latents to those of the plain run, data range 2, in dB."""

    title: ClassVar[str] = "latent PSNR, dB"
    form: ClassVar[str] = "{:.1f}"

    def measure(self, compared: Compared) -> float | None:
        return latent_psnr(compared.latents, compared.plain_latents)


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
