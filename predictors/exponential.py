"""Exponential: decays and oscillations found in the features themselves and continued."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import takewhile
from typing import Annotated

import numpy as np
import torch
from pydantic import Field, model_validator
from torch import Tensor
from typing_extensions import Self

from forecastcache.history import History
from forecastcache.predictor import Predictor
from forecastcache.predictors.newton import lagrange
from forecastcache.predictors.prony import continuation
from forecastcache.step import Step


class Exponential(Predictor):
    """A constant and `rank` exponentials, F(s) = c + sum_i a_i lambda_i^(s/N), fitted online.

    The newest differences d_j = F_j - F_{j+1} over even gaps N are taken to follow each other
    linearly, d_0 = sum_{i=1..r} c_i d_i (least squares over all elements, Prony's method). The
    companion matrix of c takes d_0, ..., d_{r-1} one gap on; the sum of its powers up to u = k/N
    takes F_0 to the target. So the weights depend on the features: no row, and no `explain`.

    Of an uneven history the evenly spaced newest part is used. With too few features the rank is
    what there are features for; with two, or where the fit has no power, a straight line.

    Exact on trajectories of at most `rank` exponentials plus a constant, straight lines included
    (lambda = 1). Noise is amplified the more the larger lambda is; `growth` bounds it. Use rank 1
    for features that settle, as those of late steps do; above rank 1 only in float32 or wider.

    Args:
        rank: exponentials fitted, at least 1.
        window: features kept, at least rank + 2; None keeps just these. More of them average
            noise out.
        growth: the largest |lambda| a gap; what grows faster is slowed to it.

    Reference: Schmid, Dynamic mode decomposition of numerical and experimental data (J. Fluid
    Mech. 656, 2010), section 2, its companion form, applied to differences.
    """

    rank: Annotated[int, Field(ge=1, le=4)] = 1
    window: Annotated[int, Field(ge=3)] | None = None
    growth: Annotated[float, Field(ge=1, allow_inf_nan=False)] = 1.5

    @model_validator(mode="after")
    def _window_holds_the_rank(self) -> Self:
        if self.window is not None and self.window < self.rank + 2:
            raise ValueError(
                f"rank={self.rank} needs a window of at least {self.rank + 2} features, but "
                f"window={self.window}: widen it or lower the rank"
            )
        return self

    @property
    def depth(self) -> int:
        return self.window or self.rank + 2

    def forecast(self, history: History, target: Step) -> Tensor:
        steps = np.array([step.index for step in history.steps], dtype=np.float64)
        even = _even_count(steps)
        row = np.zeros(len(steps))
        if even < 3:
            row[-even:] = lagrange(steps[-even:], target.index)
        else:
            gaps_ahead = (target.index - steps[-1]) / (steps[-1] - steps[-2])
            rank = min(self.rank, even - 2)
            products = _inner_products(history.features[-even:])
            precision = torch.finfo(_wide(history.features[0])).eps
            if not np.isfinite(products).all():
                return history.features[-1] * torch.nan  # the session knows what to do about it
            row[-even:] = continuation(products, rank, gaps_ahead, self.growth, precision)
        return history.combine(row)


def _even_count(steps: np.ndarray) -> int:
    """How many of the newest steps are evenly spaced."""
    gaps = np.diff(steps)[::-1].tolist()
    return 1 + len(list(takewhile(lambda gap: gap == gaps[0], gaps)))


def _wide(feature: Tensor) -> torch.dtype:
    return torch.promote_types(feature.dtype, torch.float32)


def _inner_products(features: Sequence[Tensor]) -> np.ndarray:
    """Of the newest-first differences of `features`, float64."""
    wide = _wide(features[0])
    differences = [(b.to(wide) - a.to(wide)).flatten() for a, b in zip(features, features[1:])]
    stacked = torch.stack(differences[::-1])
    products: np.ndarray = (stacked @ stacked.T).double().cpu().numpy()
    return products
