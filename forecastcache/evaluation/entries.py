"""Entries of an evaluation that are ours: forecast runs, and the plain run."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from forecastcache.adapter import Granularity
from forecastcache.attachment import attach
from forecastcache.calibration.identity import Identity
from forecastcache.entry import Applied
from forecastcache.predictor import Predictor
from forecastcache.sampling import Request
from forecastcache.schedule import Schedule


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
