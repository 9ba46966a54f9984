"""Granularity: which features of a model are forecast, as text and as objects.

`output`, `hidden`, `block` and `module` forecast all of a step. Of two others a part of the model
is computed at a forecast step: all blocks but those of a span (`block:2-5`, which may move), or
some tokens of each MLP (`tokens:0.25`).
"""

from __future__ import annotations

import re
from typing import Annotated, Any, Literal, TypeAlias

from pydantic import BeforeValidator, Field, WithJsonSchema, model_validator

from forecastcache.bounds import shortened
from forecastcache.errors import OptionError
from forecastcache.options import Options

Granularity: TypeAlias = str  # as `as_site` gives it
GRANULARITIES: tuple[Granularity, ...] = ("output", "hidden", "block", "module", "tokens")
FORMS = (*GRANULARITIES, "block:FIRST-LAST", "tokens:SHARE")
SPAN = re.compile(r"(\d{1,9})-(\d{1,9})")
BETWEEN_SITES = re.compile(rf",(?=\s*(?:{'|'.join(GRANULARITIES)})\b)")
Number = Annotated[int, Field(ge=0)]
Numbers: TypeAlias = tuple[Number, Number]  # of the first and the last block of a span


def _numbers(span: Any) -> Any:
    """The numbers of a span, where it is written as text."""
    if not isinstance(span, str):
        return span
    found = SPAN.fullmatch(span.strip())
    if found is None:
        raise ValueError(f"{span!r} is no span of blocks: write FIRST-LAST, such as 0-3")
    return tuple(map(int, found.groups()))


class Blocks(Options):
    """A span of blocks that is forecast as one; all other blocks run at every step.

    Blocks are numbered from 0 through all trunks of the adapter, in its order. A span keeps one
    feature a trunk, the change from what its first block is given to what its last one returns.
    DBCache's Fn and Bn is `Blocks(n, count - 1 - n)`.

    Another span may take its place in the later part of a run: Delta-DiT forecasts the back
    blocks first, and the front ones once the picture has its outline. Computed steps keep both.

        fc.attach(pipe, "every:5", "taylor:1", site=fc.Blocks(2, 5))  # or site="block:2-5"
        fc.attach(pipe, "every:2", "reuse", site="block:4-7,then=0-3")  # Delta-DiT

    Args:
        first: number of the first block that is forecast.
        last: number of the last one.
        then: numbers of the first and the last block that are forecast later on; None for the
            same all along.
        switch: share of the steps after which they are.

    Reference: Delta-DiT (2406.01125), where the change over a span of blocks is kept, and the
    span moves to the front; DBCache (cache-dit), where the first and the last blocks always run.
    """

    first: Number
    last: Number
    then: Annotated[Numbers | None, BeforeValidator(_numbers)] = None
    switch: Annotated[float, Field(gt=0, lt=1)] = 0.5

    @model_validator(mode="after")
    def _in_order(self) -> Blocks:
        if self.then is None and "switch" in self.model_fields_set:
            raise ValueError("switch needs the blocks that come after it: give then=FIRST-LAST")
        for first, last in self.spans:
            if last < first:
                raise ValueError(
                    f"{first}-{last} ends before it begins: write block:{last}-{first}"
                )
        return self

    @property
    def spans(self) -> tuple[Numbers, ...]:
        """The numbers of the first and the last block of each span."""
        own = (self.first, self.last)
        return (own,) if self.then is None else (own, self.then)

    @property
    def during(self) -> tuple[tuple[float, float], ...]:
        """The part of a run, as shares of its steps, in which each span is forecast."""
        return ((0.0, 1.0),) if self.then is None else ((0.0, self.switch), (self.switch, 1.0))

    def __str__(self) -> str:
        written = f"block:{self.first}-{self.last}"
        if self.then is not None:
            written += ",then={}-{}".format(*self.then)
            written += f",switch={self.switch:g}" if self.switch != 0.5 else ""
        return written


class Tokens(Options):
    """`module`, but a forecast step computes some tokens of each MLP; the others are forecast.

    Attention is forecast as it is at `module`, since a token's attention depends on all others;
    ToCa's code does the same. In a block that fuses both, the tokens' MLP is computed anew and
    joined with their attention as it was forecast.

    A score chooses the tokens, separately for each sample of a batch:

    - `values` (DuCa): tokens whose value vectors, in the attention before the MLP, have the
      smallest norms over all heads. It costs nothing, with any attention kernel.
    - `attention` (ToCa, s1): tokens that receive the most attention, summed over all queries, in
      the mean over heads. Fused kernels do not return the attention map, so computed steps make
      it again, for half of the attention's operations. This needs torch's own attention.

    Scores are kept and forecast as features are.

    What a forecast step computes is not kept, so that all features of a history are of one step.
    Nor are tokens favoured that were not computed for long, or that stand out among their
    neighbours, as in ToCa.

        fc.attach(pipe, "every:5", "reuse", site=fc.Tokens(0.1))  # or site="tokens:0.1"

    Args:
        share: share of the tokens that is computed; their number is rounded down.
        alternate: whether only the first, third, ... forecast step after a computed one computes
            tokens, as in DuCa; the others forecast all.
        by: score of the tokens, `values` or `attention`.

    Reference: ToCa (2410.05317); DuCa (2412.18911), whose other steps reuse the output of the
    whole model instead.
    """

    share: Annotated[float, Field(ge=0, le=1)] = 0.1
    alternate: bool = False
    by: Literal["values", "attention"] = "values"

    def count(self, tokens: int, age: int) -> int:
        """How many of so many tokens are computed, `age` steps after the newest computed step."""
        rests = self.alternate and age % 2 == 0
        return 0 if rests else int(self.share * tokens + 1e-9)  # 0.29 * 100 is below 29

    def __str__(self) -> str:
        options = [f"share={self.share:g}"] if self.share != 0.1 else []
        options += ["alternate=true"] if self.alternate else []
        options += [f"by={self.by}"] if self.by != "values" else []
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
        OptionError: it ends before it begins, or an option is unknown or out of range.
    """
    name, in_order, by_name = _read(site)
    if name != "block" or len(in_order) != 1 or not SPAN.fullmatch(in_order[0]):
        return None
    return Blocks(*_numbers(in_order[0]), **by_name)


def tokens_in(site: Granularity) -> Tokens | None:
    """The choice of tokens that a site is; None where it is none.

    Raises:
        OptionError: an option is unknown, given twice or out of range.
    """
    name, in_order, by_name = _read(site)
    return Tokens(*in_order, **by_name) if name == "tokens" else None


def _read(site: Granularity) -> tuple[str, list[Any], dict[str, Any]]:
    """A site's name, its values in order and its options by name.

    Raises:
        OptionError: an option is given twice.
    """
    name, _, text = site.partition(":")
    parts = [part.strip() for part in text.split(",") if part.strip()]
    by_name = [part.partition("=")[::2] for part in parts if "=" in part]
    if len(dict(by_name)) < len(by_name):
        raise OptionError(f"{site} sets an option twice: keep one")
    return name, [part for part in parts if "=" not in part], dict(by_name)


def sites_in(text: str) -> tuple[str, ...]:
    """The sites of a list with commas, as they are written there."""
    return tuple(part.strip() for part in BETWEEN_SITES.split(text))


SITE_SCHEMA = WithJsonSchema({"type": "string", "enum": [*FORMS]})
AnySite = Annotated[str, BeforeValidator(as_site), SITE_SCHEMA]
