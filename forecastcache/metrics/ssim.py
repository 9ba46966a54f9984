"""SSIM of the decoded samples."""

from __future__ import annotations

from typing import ClassVar

from torch import Tensor
from torchmetrics.functional.image import structural_similarity_index_measure

from forecastcache.metrics.metric import Compared, Metric


class SSIM(Metric):
    """Structural similarity of the decoded samples to the plain ones (Wang et al., 2004)."""

    title: ClassVar[str] = "SSIM of samples"

    def measure(self, compared: Compared) -> float | None:
        return ssim(compared.samples, compared.plain)


def ssim(pictures: Tensor, reference: Tensor) -> float:
    """Structural similarity (Wang et al., 2004), mean over pictures or frames `(..., 3, h, w)`."""
    similarity = structural_similarity_index_measure(
        pictures.flatten(0, -4), reference.flatten(0, -4), data_range=1.0
    )
    assert isinstance(similarity, Tensor)
    return float(similarity)
