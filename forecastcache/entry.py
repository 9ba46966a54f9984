"""Entry: a way of sampling, put on a pipeline for a while."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from typing import Any, Protocol

from forecastcache.sampling import Request
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
