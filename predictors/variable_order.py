"""Variable order: Taylor of the order that has just forecast best."""

from __future__ import annotations

from typing import Annotated

import torch
from pydantic import Field, field_validator
from torch import Tensor

from forecastcache.history import History
from forecastcache.predictor import Predictor
from forecastcache.predictors.taylor import Taylor
from forecastcache.step import Step

Order = Annotated[int, Field(ge=0, le=4)]


class VariableOrder(Predictor):
    """Taylor, with the order m that misses the newest computed feature least.

    Each order forecasts the newest feature F_c from those before it, and the one of least
    |F^_c - F_c|, over all samples of the branch, forecasts the step. Until there are enough
    features to tell, the lowest order does.

    Its convergence order is 2, as Taylor's. What orders may be trusted depends on the guidance:
    high guidance makes trajectories stiff, and there low orders win. Use it where nothing was
    calibrated and guidance is not known beforehand.
    It reads the history twice, and on an accelerator waits for it once a forecast.

    Args:
        orders: orders to choose from, rising; it holds one feature more than the highest reads.

    Reference: order selection of multistep solvers by the error that each order would have made,
    Hairer, Norsett and Wanner (Solving Ordinary Differential Equations I, section III.7).
    """

    orders: tuple[Order, ...] = (1, 2)

    @field_validator("orders")
    @classmethod
    def _rising(cls, orders: tuple[int, ...]) -> tuple[int, ...]:
        if not orders or any(b <= a for a, b in zip(orders, orders[1:])):
            raise ValueError(f"orders are {orders}, but must rise: give some such as (1, 2)")
        return orders

    @property
    def depth(self) -> int:
        return max(self.orders) + 2

    def forecast(self, history: History, target: Step) -> Tensor:
        order = self._order(history)
        return history.combine(Taylor(order, guard=0).row(history.steps, target))

    def _order(self, history: History) -> int:
        *before, newest = history.steps
        possible = [order for order in self.orders if order < len(before)]
        if len(possible) < 2:
            return self.orders[0]
        rows = [Taylor(order, guard=0).row(before, newest) for order in possible]
        features = torch.stack([each.flatten() for each in history.features]).float()
        misses = torch.tensor([[*row.tolist(), -1.0] for row in rows]).to(features) @ features
        return possible[int(misses.square().sum(1).argmin())]
