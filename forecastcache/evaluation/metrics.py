"""How near two sets of pictures are."""

from __future__ import annotations

import math
from functools import cached_property
from typing import Any

from torch import Tensor
from torchmetrics.functional.image import (
    peak_signal_noise_ratio,
    structural_similarity_index_measure,
)
from torchmetrics.image.lpip import LearnedPerceptualImagePatchSimilarity


def psnr(pictures: Tensor, reference: Tensor) -> float:
    """Peak signal-to-noise ratio in dB, mean over samples in [0, 1].

    Samples that are identical have none and are left out of the mean; infinite if all are.

    Args:
        pictures: `(n, 3, h, w)`, or clips `(n, frames, 3, h, w)`.
        reference: likewise.
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


def ssim(pictures: Tensor, reference: Tensor) -> float:
    """Structural similarity (Wang et al., 2004), mean over pictures or frames `(..., 3, h, w)`."""
    similarity = structural_similarity_index_measure(
        pictures.flatten(0, -4), reference.flatten(0, -4), data_range=1.0
    )
    assert isinstance(similarity, Tensor)
    return float(similarity)


class Perceptual:
    """LPIPS (Zhang et al., 1801.03924) by AlexNet, where its weights are to be had.

    They come by way of torchvision, which downloads them once.

    Attributes:
        missing: why there is none; None where there is.
    """

    missing: str | None = None

    @cached_property
    def _metric(self) -> Any:
        try:
            return LearnedPerceptualImagePatchSimilarity("alex", normalize=True)
        except (ImportError, OSError, RuntimeError) as error:  # nowhere, out of reach, or broken
            self.missing = " ".join(str(error).split())
            return None

    def __call__(self, pictures: Tensor, reference: Tensor) -> float | None:
        """Mean over pictures or frames `(..., 3, h, w)` in [0, 1]; None where it is missing."""
        if self._metric is None:
            return None
        try:
            return float(self._metric(pictures.flatten(0, -4), reference.flatten(0, -4)))
        except (ValueError, RuntimeError) as error:  # not in colour, or too small
            self.missing = " ".join(str(error).split())
            return None
