"""PSNR of the decoded samples."""

from __future__ import annotations

import math
from typing import ClassVar

from torch import Tensor
from torchmetrics.functional.image import peak_signal_noise_ratio

from forecastcache.metrics.metric import Compared, Metric


class PSNR(Metric):
    """Peak signal-to-noise ratio of the decoded samples to the plain ones, data range 1, in dB."""

    title: ClassVar[str] = "PSNR of samples, dB"
    form: ClassVar[str] = "{:.1f}"

    def measure(self, compared: Compared) -> float | None:
        near = psnr(compared.samples, compared.plain)
        return near if math.isfinite(near) else None


def psnr(pictures: Tensor, reference: Tensor) -> float:
    """Peak signal-to-noise ratio in dB, mean over samples in [0, 1].

    Samples that are identical have none and are left out of the mean; infinite if all are.

    Args:
        pictures: pictures `(n, 3, h, w)`, or clips `(n, frames, 3, h, w)`.
        reference: pictures or clips of the same shape.
    """
    differ = (pictures != reference).flatten(1).any(1)
    if not differ.any():
        return math.inf
    ratio = peak_signal_noise_ratio(
        pictures[differ].flatten(1),
        reference[differ].flatten(1),
        data_range=1.0,
        dim=1,
        reduction="elementwise_mean",
    )
    return float(ratio)


def psnr_of_each(pictures: Tensor, reference: Tensor) -> list[float | None]:
    """PSNR of each sample to its reference in dB, as `psnr`; None for one that is identical."""
    errors = (pictures - reference).double().square().flatten(1).mean(1).tolist()
    return [-10 * math.log10(error) if error else None for error in errors]
