"""Entries: the ways of sampling that an evaluation holds against a plain run."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass, field
from typing import Any, Protocol

from forecastcache.adapter import Granularity
from forecastcache.attachment import attach
from forecastcache.predictor import Predictor
from forecastcache.schedule import Schedule
from forecastcache.session import Session


@dataclass(frozen=True)
class Applied:
    """A pipeline that an entry has been put on.

    Attributes:
        changes: arguments of the pipeline's call that are other than in the plain run.
        session: of a forecast run, for its report.
    """

    changes: Mapping[str, Any] = field(default_factory=dict)
    session: Session | None = None


class Entry(Protocol):
    """A way of sampling.

    Attributes:
        name: in a few words; no two entries of an evaluation have the same.
        kind: `forecast` for ours, `rival` for what else there is.
    """

    @property
    def name(self) -> str: ...

    @property
    def kind(self) -> str: ...

    def on(self, pipe: Any) -> AbstractContextManager[Applied]:
        """Put it on a pipeline for a while; nothing is left after."""
        ...


@dataclass(frozen=True)
class Forecast:
    """Forecasting by a predictor of ours or anybody's.

    Attributes:
        predictor: how steps are filled in.
        schedule: which steps are computed.
        site: what is forecast.
        label: of predictor and schedule, as they were asked for.
    """

    predictor: Predictor
    schedule: Schedule
    site: Granularity
    label: str
    kind: str = "forecast"

    @property
    def name(self) -> str:
        return f"{self.label}, {self.site}"

    @contextmanager
    def on(self, pipe: Any) -> Iterator[Applied]:
        with attach(pipe, self.schedule, self.predictor, site=self.site) as session:
            yield Applied(session=session)
