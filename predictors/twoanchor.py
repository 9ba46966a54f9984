"""Two anchors: how far the first block has moved says how far to go, as DiCache does it."""

from __future__ import annotations

from typing import Annotated

import torch
from pydantic import Field, model_validator
from torch import Tensor
from typing_extensions import Self

from forecastcache.history import History
from forecastcache.predictor import Need, Predictor
from forecastcache.predictors.by_sample import by_sample
from forecastcache.step import Step


class TwoAnchor(Predictor):
    """The line through the newest two features, as far along as the first block has moved on it.

    F^_s = F_1 + gamma (F_0 - F_1), with gamma = |p_s - p_1| / |p_0 - p_1| held between `lower`
    and `upper`. p is the first block's residual (batch, tokens, channels), computed at every
    step, and |.| the mean absolute value, of every sample of its own; where the first block
    stands still gamma is `lower`. With one feature it is reuse.

    Exact where features move along a line and the first block in proportion, as far as the
    bounds let gamma go. gamma held at 1 is reuse, held at 1 + u the straight line of Taylor(1) at
    u gaps ahead: the bounds of the paper's code stop half a gap ahead. Use it at `hidden` or
    `block`, on models whose adapter names its blocks. One more block runs at every step, and each
    branch holds two of its residuals beside the features.

    Args:
        lower: the least gamma, at least 1.
        upper: the largest gamma.

    Reference: DiCache (2508.17356), its dynamic cache trajectory alignment, with the bounds and
    the probe of one block that its code for FLUX has. When to compute is a schedule's to say.
    """

    lower: Annotated[float, Field(ge=0, allow_inf_nan=False)] = 1.0
    upper: Annotated[float, Field(ge=0, allow_inf_nan=False)] = 1.5

    @model_validator(mode="after")
    def _in_order(self) -> Self:
        if self.lower > self.upper:
            raise ValueError(
                f"lower={self.lower:g} is above upper={self.upper:g}: exchange them, or make them "
                "equal to hold gamma there"
            )
        return self

    @property
    def depth(self) -> int:
        return 2

    @property
    def needs(self) -> frozenset[Need]:
        return frozenset({"first_block"})

    def forecast(self, history: History, target: Step) -> Tensor:
        if len(history) < 2:
            return history.combine([1.0])
        older, newer = history.features
        (before, then), now = history.seen("first_block")
        wide = torch.promote_types(older.dtype, torch.float32)
        before, then, now = (each.to(now.device, wide) for each in (before, then, now))
        moved, whole = ((each - before).abs().flatten(1).mean(1) for each in (now, then))
        gamma = torch.where(whole > 0, moved / whole, self.lower).clamp(self.lower, self.upper)
        gamma = by_sample(gamma, newer)
        return (older.to(wide) + gamma * (newer.to(wide) - older.to(wide))).to(newer.dtype)
