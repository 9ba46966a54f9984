"""Methods: the rows of an evaluation, each a way of sampling that is put on a pipeline."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass, field
from typing import Any, Literal, Protocol

from forecastcache.calibration.identity import Identity
from forecastcache.config import Config
from forecastcache.engine.attach import attach
from forecastcache.engine.session import Session
from forecastcache.granularity import Granularity
from forecastcache.predictor import Predictor
from forecastcache.sampling.request import Request
from forecastcache.schedule import Schedule

Kind = Literal["forecast", "baseline", "plain"]


@dataclass(frozen=True)
class Applied:
    """A pipeline that a method has been put on.

    Attributes:
        changes: arguments of the pipeline's call that are other than in the plain run.
        session: session of a forecast run, for its report.
    """

    changes: Mapping[str, Any] = field(default_factory=dict)
    session: Session | None = None


class Method(Protocol):
    """A way of sampling.

    Attributes:
        name: name of its row, in a few words; no two methods of an evaluation share one.
        line: name shared by the methods that it makes one line with in a chart.
        kind: `forecast` for a predictor, `baseline` for what else makes a pipeline faster, `plain`
            for neither.
    """

    @property
    def name(self) -> str: ...

    @property
    def line(self) -> str: ...

    @property
    def kind(self) -> Kind: ...

    def apply(self, pipe: Any, request: Request) -> AbstractContextManager[Applied]:
        """Put it on a pipeline that is to serve `request`; nothing is left after."""
        ...


@dataclass(frozen=True)
class Plain:
    """The plain run once more: what it differs by is the noise under every other figure."""

    name: str = "plain, again"
    line: str = "plain"
    kind: Kind = "plain"

    @contextmanager
    def apply(self, pipe: Any, request: Request) -> Iterator[Applied]:
        yield Applied()


@dataclass(frozen=True)
class Forecast:
    """Forecasting by any predictor.

    Attributes:
        predictor: predictor that fills in steps.
        schedule: schedule of the computed steps.
        site: granularity of what is forecast.
        label: predictor in words, as it was asked for.
        when: schedule in words, as it was asked for.
        identity: identity of what the predictor was calibrated on; None if it was not.
        config: set-up that holds the further options of the session; None for their defaults.
    """

    predictor: Predictor
    schedule: Schedule
    site: Granularity
    label: str
    when: str
    identity: Identity | None = None
    kind: Kind = "forecast"
    config: Config | None = None

    @property
    def name(self) -> str:
        return f"{self.label} {self.when}, {self.site}"

    @property
    def line(self) -> str:
        return f"{self.label}, {self.site}"

    @contextmanager
    def apply(self, pipe: Any, request: Request) -> Iterator[Applied]:
        if self.identity is not None:
            asked = Identity.of(
                pipe, request.steps, request.guidance(pipe), guidance_2=request.guidance_2
            )
            self.identity.require(asked)
        further = {} if self.config is None else self.config.further
        with attach(pipe, self.schedule, self.predictor, site=self.site, **further) as session:
            yield Applied(session=session)
