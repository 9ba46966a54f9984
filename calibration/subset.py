"""Subset: which elements of a sample a calibration looks at.

Least squares over some ten weights needs no million equations: so many elements, drawn once, give
the same rows, and what is kept of a plain run grows no further with the size of its samples.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache

import torch
from torch import Tensor

ELEMENTS = 65536  # of one sample; 50 clips of 720x1280x129 then keep 0.7 GB of samples
SEED = 0


@dataclass(frozen=True)
class Subset:
    """So many elements of every sample, the same ones at every step.

    Attributes:
        elements: number of elements of one sample, at most.
    """

    elements: int = ELEMENTS

    def of(self, batch: Tensor) -> Tensor:
        """Those of each sample of a batch, `(samples, elements)`, float32 on the host."""
        flat = batch.detach().flatten(1)
        if flat.shape[1] > self.elements:
            flat = flat[:, _drawn(flat.shape[1], self.elements).to(flat.device)]
        return flat.float().cpu().clone()


@lru_cache(maxsize=8)
def _drawn(size: int, elements: int) -> Tensor:
    generator = torch.Generator().manual_seed(SEED)
    return torch.randperm(size, generator=generator)[:elements].sort().values
