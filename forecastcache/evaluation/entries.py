"""Entries: the ways of sampling that an evaluation holds against a plain run."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass, field
from typing import Any, Protocol

from forecastcache.adapter import Granularity
from forecastcache.attachment import attach
from forecastcache.calibration.identity import Identity
from forecastcache.predictor import Predictor
from forecastcache.sampling import Request
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
        line: what it shares with the entries that it makes one line with in a chart.
        kind: `forecast` for ours, `rival` for what else there is, `plain` for neither.
    """

    @property
    def name(self) -> str: ...

    @property
    def line(self) -> str: ...

    @property
    def kind(self) -> str: ...

    def on(self, pipe: Any, request: Request) -> AbstractContextManager[Applied]:
        """Put it on a pipeline that is to serve `request`; nothing is left after."""
        ...


@dataclass(frozen=True)
class Plain:
    """The plain run once more: what it differs by is the noise under every other figure."""

    name: str = "plain, again"
    line: str = "plain"
    kind: str = "plain"

    @contextmanager
    def on(self, pipe: Any, request: Request) -> Iterator[Applied]:
        yield Applied()


@dataclass(frozen=True)
class Forecast:
    """Forecasting by a predictor of ours or anybody's.

    Attributes:
        predictor: how steps are filled in.
        schedule: which steps are computed.
        site: what is forecast.
        label: of the predictor, as it was asked for.
        when: of the schedule, likewise.
        identity: of what the predictor was calibrated on, if it was.
    """

    predictor: Predictor
    schedule: Schedule
    site: Granularity
    label: str
    when: str
    identity: Identity | None = None
    kind: str = "forecast"

    @property
    def name(self) -> str:
        return f"{self.label} {self.when}, {self.site}"

    @property
    def line(self) -> str:
        return f"{self.label}, {self.site}"

    @contextmanager
    def on(self, pipe: Any, request: Request) -> Iterator[Applied]:
        if self.identity is not None:
            asked = Identity.of(pipe, request.steps, request.guidance(pipe))
            self.identity.require(asked)
        with attach(pipe, self.schedule, self.predictor, site=self.site) as session:
            yield Applied(session=session)
