"""Lumina-Image 2.0, at its output (Qin et al., 2503.21758)."""

from typing import Any

import torch
from torch import Tensor

from forecastcache.adapter import Adapter


def _read_no_mask(model: Any) -> None:
    """Take every text for as long as its mask is."""
    embed = model.rope_embedder.forward

    def embed_whole(hidden_states: Tensor, attention_mask: Tensor) -> Any:
        return embed(hidden_states, torch.ones(attention_mask.shape, dtype=torch.int64))

    model.rope_embedder.forward = embed_whole


LUMINA2 = Adapter(
    name="lumina2",
    models=("diffusers.Lumina2Transformer2DModel",),
    without_data=_read_no_mask,
)
