"""Bands: one predictor for low spatial frequencies, another for high ones, as FreqCa does it."""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache
from math import ceil, pi, prod
from typing import TYPE_CHECKING, Annotated

import numpy as np
import torch
from pydantic import Field
from torch import Tensor

from forecastcache.errors import HistoryError
from forecastcache.history import History
from forecastcache.predictor import Forecaster, Need, Predictor
from forecastcache.predictors.composite import Composite
from forecastcache.spec import AnyPredictor
from forecastcache.step import Step


class Bands(Composite):
    """`low` forecasts the low spatial frequencies of an image, `high` the others.

    F^ = L F^_low + (1 - L) F^_high, with L the projection on the lowest `cutoff` of the cosine
    transform's frequencies along height and along width, frame by frame in a video. Features are
    images (batch, ..., height, width), or tokens (batch, tokens, channels) whose
    layout the adapter tells.

    Order, exactness and noise gain are those of the two, band by band. Use it at `output` and
    `hidden`, where frequencies mean something; with low=Reuse() and high=Hermite(order=2) it is
    FreqCa.

    Args:
        low: any predictor, or a spec such as `reuse`.
        high: likewise.
        cutoff: part of the frequencies along each axis that is low, within (0, 1).

    Reference: FreqCa (2510.08669), its variant with the cosine transform.
    """

    low: AnyPredictor
    high: AnyPredictor
    cutoff: Annotated[float, Field(gt=0, lt=1)] = 0.25

    if TYPE_CHECKING:  # the constructor takes specs too

        def __init__(
            self, low: Predictor | str, high: Predictor | str, cutoff: float = ...
        ) -> None: ...

    @property
    def parts(self) -> tuple[Predictor, ...]:
        return self.low, self.high

    @property
    def needs(self) -> frozenset[Need]:
        return super().needs | {"grid"}

    def forecast(self, history: History, target: Step) -> Tensor:
        return self.prepare(history.steps, target)(history)

    def prepare(self, computed: Sequence[Step], target: Step) -> Forecaster:
        low, high = self.low.prepare(computed, target), self.high.prepare(computed, target)

        def forecast(history: History) -> Tensor:
            calm = high(history)
            wide = torch.promote_types(calm.dtype, torch.float32)
            difference = low(history).to(wide) - calm.to(wide)
            return (calm + low_pass(difference, history.grid, self.cutoff)).to(calm.dtype)

        return forecast


def low_pass(feature: Tensor, grid: tuple[int, ...] | None, cutoff: float) -> Tensor:
    """The lowest frequencies of a feature along height and along width.

    Args:
        feature: `(batch, tokens, channels)` or `(batch, ..., height, width)`.
        grid: extent of each axis of the tokens, height and width last.
        cutoff: part of the frequencies kept along each axis.

    Raises:
        HistoryError: the feature is neither an image nor the tokens of `grid`.
    """
    if feature.ndim >= 4:
        vertical, horizontal = (_projection(n, cutoff, feature) for n in feature.shape[-2:])
        return vertical @ feature @ horizontal
    if grid is None or feature.ndim != 3 or prod(grid) != feature.shape[1]:
        raise HistoryError(
            f"a feature of shape {tuple(feature.shape)} is no image, nor does it hold the tokens "
            f"of the grid {grid} and no others, so it has no spatial frequencies: use Bands where "
            "features are images or their tokens alone, at the output or hidden of most models"
        )
    image = feature.unflatten(1, grid).movedim(-1, 1)
    return low_pass(image, None, cutoff).movedim(1, -1).flatten(1, -2)


def _projection(size: int, cutoff: float, like: Tensor) -> Tensor:
    return torch.from_numpy(_lowest(size, cutoff)).to(like)


@lru_cache(maxsize=64)
def _lowest(size: int, cutoff: float) -> np.ndarray:
    """The orthogonal projection on the lowest cosines, `(size, size)`."""
    frequency, place = np.arange(ceil(cutoff * size))[:, None], np.arange(size) + 0.5
    cosines = np.cos(pi * frequency * place / size)
    cosines /= np.linalg.norm(cosines, axis=1, keepdims=True)
    projection: np.ndarray = cosines.T @ cosines
    return projection
