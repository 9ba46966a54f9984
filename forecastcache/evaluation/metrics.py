"""How near two sets of pictures are."""

from __future__ import annotations

import math

from torch import Tensor
from torchmetrics.functional.image import (
    peak_signal_noise_ratio,
    structural_similarity_index_measure,
)


def psnr(pictures: Tensor, reference: Tensor) -> float:
    """Peak signal-to-noise ratio in dB, mean over pictures `(n, 3, h, w)` in [0, 1].

    Pictures that are identical have none and are left out of the mean; infinite if all are.
    """
    differ = (pictures != reference).flatten(1).any(1)
    if not differ.any():
        return math.inf
    ratio = peak_signal_noise_ratio(
        pictures[differ],
        reference[differ],
        data_range=1.0,
        dim=(1, 2, 3),
        reduction="elementwise_mean",
    )
    return float(ratio)


def ssim(pictures: Tensor, reference: Tensor) -> float:
    """Structural similarity (Wang et al., 2004), mean over pictures `(n, 3, h, w)` in [0, 1]."""
    similarity = structural_similarity_index_measure(pictures, reference, data_range=1.0)
    assert isinstance(similarity, Tensor)
    return float(similarity)
