"""Mochi 1, at its output (Genmo, 2024)."""

from typing import Any

import torch
from torch import Tensor

from forecastcache.adapter import Adapter


def _without_autocast(model: Any) -> None:
    """Autocast knows no device without data, and no shape depends on it."""

    def create_rope(freqs: Tensor, pos: Tensor) -> tuple[Tensor, Tensor]:
        angles = torch.einsum("nd,dhf->nhf", pos.to(freqs), freqs)
        return angles.cos(), angles.sin()

    model.rope._create_rope = create_rope


MOCHI = Adapter(
    name="mochi",
    models=("diffusers.MochiTransformer3DModel",),
    without_data=_without_autocast,
)
