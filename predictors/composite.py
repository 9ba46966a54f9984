"""Composite: what a predictor made of predictors asks for."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Sequence

from typing_extensions import Self

from forecastcache.predictor import Need, Predictor
from forecastcache.schedule import Schedule


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

    def for_schedule(self, schedule: Schedule) -> Self:
        options = ((name, getattr(self, name)) for name in type(self).model_fields)
        told = {
            name: option.for_schedule(schedule)
            for name, option in options
            if isinstance(option, Predictor)
        }
        return self.model_copy(update=told)

    def check(self, total: int, computed: Sequence[int] | None) -> None:
        for part in self.parts:
            part.check(total, computed)
