"""Granularity: which features of a model are forecast, as text and as objects.

`output`, `hidden`, `block` and `module` forecast all of a step. `block:2-5` forecasts a span of
blocks, and the other blocks run.
"""

from __future__ import annotations

import re
from typing import Annotated, Any, TypeAlias

from pydantic import BeforeValidator, Field, WithJsonSchema, model_validator

from forecastcache.bounds import shortened
from forecastcache.errors import OptionError
from forecastcache.options import Options

Granularity: TypeAlias = str  # as `as_site` gives it
GRANULARITIES: tuple[Granularity, ...] = ("output", "hidden", "block", "module")
FORMS = (*GRANULARITIES, "block:FIRST-LAST")
SPAN = re.compile(r"block:(\d{1,9})-(\d{1,9})")
BETWEEN_SITES = re.compile(rf",(?=\s*(?:{'|'.join(GRANULARITIES)})\b)")


class Blocks(Options):
    """A span of blocks that is forecast as one; all other blocks run at every step.

    Blocks are numbered from 0 through all trunks of the adapter, in its order. A span keeps one
    feature a trunk, the change from what its first block is given to what its last one returns.
    DBCache's Fn and Bn is `Blocks(n, count - 1 - n)`.

        fc.attach(pipe, "every:5", "taylor:1", site=fc.Blocks(2, 5))  # or site="block:2-5"

    Args:
        first: number of the first block that is forecast.
        last: number of the last one.

    Reference: Delta-DiT (2406.01125), where the change over a span of blocks is kept; DBCache
    (cache-dit), where the first and the last blocks always run.
    """

    first: Annotated[int, Field(ge=0)]
    last: Annotated[int, Field(ge=0)]

    @model_validator(mode="after")
    def _in_order(self) -> Blocks:
        if self.last < self.first:
            raise ValueError(
                f"block:{self.first}-{self.last} ends before it begins: write "
                f"block:{self.last}-{self.first}"
            )
        return self

    def __str__(self) -> str:
        return f"block:{self.first}-{self.last}"


def as_site(site: Any) -> Granularity:
    """A site in the one way that it is written, from its text or its object.

    Raises:
        OptionError: it is no site.
    """
    if isinstance(site, Blocks):
        return str(site)
    if isinstance(site, str):
        text = site.strip()
        if text in GRANULARITIES:
            return text
        if (span := span_in(text)) is not None:
            return str(span)
    raise OptionError(
        f"{shortened(str(site))} is not known: write one of {', '.join(FORMS)}, such as block:2-5"
    )


def span_in(site: Granularity) -> Blocks | None:
    """The span of blocks that a site is; None where it is none.

    Raises:
        OptionError: it ends before it begins.
    """
    found = SPAN.fullmatch(site)
    return None if found is None else Blocks(*map(int, found.groups()))


def sites_in(text: str) -> tuple[str, ...]:
    """The sites of a list with commas, as they are written there."""
    return tuple(part.strip() for part in BETWEEN_SITES.split(text))


SITE_SCHEMA = WithJsonSchema({"type": "string", "enum": [*FORMS]})
AnySite = Annotated[str, BeforeValidator(as_site), SITE_SCHEMA]
