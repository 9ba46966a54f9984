"""Composite: what a predictor made of predictors asks for."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Sequence

from forecastcache.predictor import Need, Predictor


class Composite(Predictor):
    """A predictor made of others: it needs whatever one of its parts needs."""

    @property
    @abstractmethod
    def parts(self) -> tuple[Predictor, ...]:
        """The predictors that it is made of."""

    @property
    def depth(self) -> int:
        return max(part.depth for part in self.parts)

    @property
    def minimum(self) -> int:
        return max(part.minimum for part in self.parts)

    @property
    def needs(self) -> frozenset[Need]:
        return frozenset[Need]().union(*(part.needs for part in self.parts))

    @property
    def fitted(self) -> bool:
        return any(part.fitted for part in self.parts)

    @property
    def total(self) -> int | None:
        return next((part.total for part in self.parts if part.total is not None), None)

    def check(self, total: int, computed: Sequence[int] | None) -> None:
        for part in self.parts:
            part.check(total, computed)
