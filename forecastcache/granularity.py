"""Granularity: which features of a model are forecast, as text and as objects.

`output`, `hidden`, `block` and `module` forecast all of a step. Of two others a part of the model
is computed at a forecast step: all blocks but those of a span (`block:2-5`), or some tokens of
each MLP (`tokens:0.25`).
"""

from __future__ import annotations

import re
from typing import Annotated, Any, TypeAlias

from pydantic import BeforeValidator, Field, WithJsonSchema, model_validator

from forecastcache.bounds import shortened
from forecastcache.errors import OptionError
from forecastcache.options import Options

Granularity: TypeAlias = str  # as `as_site` gives it
GRANULARITIES: tuple[Granularity, ...] = ("output", "hidden", "block", "module", "tokens")
FORMS = (*GRANULARITIES, "block:FIRST-LAST", "tokens:SHARE")
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


class Tokens(Options):
    """`module`, but a forecast step computes some tokens of each MLP; the others are forecast.

    Attention is forecast as it is at `module`, since a token's attention depends on all others;
    ToCa's code does the same. In a block that fuses both, the tokens' MLP is computed anew and
    joined with their attention as it was forecast.

    Chosen are the tokens whose values, in the attention before the MLP, have the smallest norms,
    as in DuCa: norms can be had where a fused kernel keeps the scores of attention, ToCa's first
    choice, to itself. The norms (of all heads together) are kept and forecast as the features
    are. Each sample of a batch has tokens of its own.

    What a forecast step computes is not kept, so that all features of a history are of one step.
    Nor are tokens favoured that were not computed for long, or that stand out among their
    neighbours, as in ToCa.

        fc.attach(pipe, "every:5", "reuse", site=fc.Tokens(0.1))  # or site="tokens:0.1"

    Args:
        share: share of the tokens that is computed; their number is rounded down.
        alternate: whether only the first, third, ... forecast step after a computed one computes
            tokens, as in DuCa; the others forecast all.

    Reference: ToCa (2410.05317); DuCa (2412.18911), whose other steps reuse the output of the
    whole model instead.
    """

    share: Annotated[float, Field(ge=0, le=1)] = 0.1
    alternate: bool = False

    def count(self, tokens: int, age: int) -> int:
        """How many of so many tokens are computed, `age` steps after the newest computed step."""
        rests = self.alternate and age % 2 == 0
        return 0 if rests else int(self.share * tokens + 1e-9)  # 0.29 * 100 is below 29

    def __str__(self) -> str:
        options = [f"share={self.share:g}"] if self.share != 0.1 else []
        options += ["alternate=true"] if self.alternate else []
        return ":".join(filter(None, ["tokens", ",".join(options)]))


def as_site(site: Any) -> Granularity:
    """A site in the one way that it is written, from its text or its object.

    Raises:
        OptionError: it is no site.
    """
    if isinstance(site, (Blocks, Tokens)):
        return str(site)
    if isinstance(site, str):
        text = site.strip()
        if text in GRANULARITIES:
            return text
        if (part := span_in(text) or tokens_in(text)) is not None:
            return str(part)
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


def tokens_in(site: Granularity) -> Tokens | None:
    """The choice of tokens that a site is; None where it is none.

    Raises:
        OptionError: an option is unknown, given twice or out of range.
    """
    name, _, text = site.partition(":")
    if name != "tokens":
        return None
    parts = [part.strip() for part in text.split(",") if part.strip()]
    in_order: list[Any] = [part for part in parts if "=" not in part]
    by_name = [part.partition("=")[::2] for part in parts if "=" in part]
    options: dict[str, Any] = dict(by_name)
    if len(options) < len(by_name):
        raise OptionError(f"{site} sets an option twice: keep one")
    return Tokens(*in_order, **options)


def sites_in(text: str) -> tuple[str, ...]:
    """The sites of a list with commas, as they are written there."""
    return tuple(part.strip() for part in BETWEEN_SITES.split(text))


SITE_SCHEMA = WithJsonSchema({"type": "string", "enum": [*FORMS]})
AnySite = Annotated[str, BeforeValidator(as_site), SITE_SCHEMA]
