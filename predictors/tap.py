"""TAP: each token by the Taylor order that forecasts the first block best."""

from __future__ import annotations

from typing import Annotated

import numpy as np
import torch
from pydantic import Field, field_validator
from torch import Tensor

from forecastcache.history import History
from forecastcache.predictor import Need, Predictor
from forecastcache.predictors.by_sample import by_sample
from forecastcache.predictors.taylor import Taylor
from forecastcache.step import Step


class TAP(Predictor):
    """Taylor, of the order m that for this token misses the first block least, now.

    m(b, i) = argmin_m |p^_m - p|^2 at token i of sample b, where p is the first block's residual
    (batch, tokens, channels), computed at every step, and p^_m Taylor's forecast of it from its
    values at the computed steps. The feature of token i is then Taylor's of order m(b, i). Of
    equal ones the lowest order is taken. A feature (batch, ...) of other tokens than the first
    block's, such as those of a text or the pixels of an image, takes one order a sample, the one
    of least miss over all tokens.

    Each token has what its order has: exact on constants, on straight lines where order 0 is not
    among the orders. With one order it is Taylor. Use it at `hidden`, and at `output` of models
    that return tokens. One more block runs at every step, and each branch holds as many of its
    residuals as features.

    Args:
        orders: orders to choose from, rising; holds one feature more than the highest.

    Reference: TAP (2603.03792), its choice by a probe of the first layer. Its abstract is what is
    known here: which measure compares probes, how a family of several horizons is made, and which
    tensors are forecast are not; squares, one horizon and the site's features are this project's
    choice.
    """

    orders: tuple[Annotated[int, Field(ge=0, le=4)], ...] = (0, 1, 2)

    @field_validator("orders")
    @classmethod
    def _rising(cls, orders: tuple[int, ...]) -> tuple[int, ...]:
        if not orders or any(b <= a for a, b in zip(orders, orders[1:])):
            raise ValueError(f"orders are {orders}, but must rise: give some such as (0, 1, 2)")
        return orders

    @property
    def depth(self) -> int:
        return max(self.orders) + 1

    @property
    def needs(self) -> frozenset[Need]:
        return frozenset({"first_block"})

    def forecast(self, history: History, target: Step) -> Tensor:
        possible = [m for m in self.orders if m < len(history)] or [self.orders[0]]
        rows = [Taylor(m, guard=0).row(history.steps, target) for m in possible]
        forecasts = [history.combine(row) for row in rows]
        if len(rows) == 1:
            return forecasts[0]
        misses = torch.stack([self._miss(history, row) for row in rows])
        if misses.shape[2:] != forecasts[0].shape[1:2] or forecasts[0].ndim < 3:
            misses = misses.sum(2)
        chosen = by_sample(misses.argmin(0), forecasts[0])
        result = forecasts[0]
        for number, forecast in enumerate(forecasts[1:], 1):
            result = torch.where(chosen == number, forecast, result)
        return result

    def _miss(self, history: History, row: np.ndarray) -> Tensor:
        """Squared error of a row's forecast of the first block, `(batch, tokens)`."""
        past, now = history.seen("first_block")
        wide = torch.promote_types(now.dtype, torch.float32)
        terms = [w * p.to(now.device, wide) for w, p in zip(row.tolist(), past) if w]
        return (sum(terms, -now.to(wide))).square().flatten(2).sum(2)
