"""Trunk: the blocks of a model class, and the places in them whose tensors are forecast."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from operator import attrgetter
from typing import Any, Literal, NamedTuple

from torch import nn

from forecastcache.errors import AttachError
from forecastcache.granularity import Tokens

Feature = Literal[
    "output", "input", "residual", "nothing", "tokens", "entry", "beside", "norm", "received"
]


@dataclass(frozen=True)
class Site:
    """A named place in a model whose tensors are forecast.

    Attributes:
        path: path of the module within the model; '' is the model itself.
        feature: the tensor that is forecast there: the module's `output`, its first `input`, its
            `residual` (what it returns less what it was given), or `nothing`, where another site
            makes the module needless. Where some tokens are computed: the output for these
            `tokens` in that for all, the module at their `entry`, the output of a module `beside`
            whose tokens are forecast, the `norm` of each token, or the attention that it has
            `received`.
        streams: the arguments whose change a residual is, in the order in which the module returns
            them, None for a result that is the update of none and is forecast whole; for nothing,
            the arguments that are returned instead, () for the first.
        wide: for nothing, whether the argument is given the width of the module's output.
        score: for some tokens, the name of the feature that scores them.
        leads: whether that feature has them before other tokens; if not, they come last there.
        tokens: the choice of these tokens.
        entered: whether a module is given these tokens only, which entered somewhere before it.
        through: for a residual, paths of the blocks that follow in turn, where it is that of a
            span of blocks: what the last one returns less what the first one was given.
        during: for a residual, the part of a run in which it is forecast, as shares of its steps;
            before and after it, forecast steps run the blocks.
    """

    path: str
    feature: Feature
    streams: tuple[str | None, ...] = ()
    wide: bool = False
    score: str = ""
    leads: bool = False
    tokens: Tokens | None = None
    entered: bool = False
    through: tuple[str, ...] = ()
    during: tuple[float, float] = (0.0, 1.0)

    @property
    def moves(self) -> bool:
        """Whether it is forecast in a part of a run only."""
        return self.during != (0.0, 1.0)

    def is_forecast_at(self, share: float) -> bool:
        """Whether a forecast step so far into a run forecasts it."""
        return self.during[0] <= share < self.during[1]

    @property
    def name(self) -> str:
        """What the feature is called: the path, and where the span of blocks ends if it is one."""
        if self.feature == "received":
            return f"{self.path}.received"  # the module's output may be kept too
        return "-".join((self.path, *(path.rpartition(".")[2] for path in self.through[-1:])))


class Skip(NamedTuple):
    """A module whose result only a forecast module reads, so that a forecast makes it needless.

    Attributes:
        path: path of the module within the block.
        streams: arguments that are returned unchanged instead, () for the first alone.
        wide: whether the first argument is given the width of a linear layer's output, one value
            repeated at no cost, since the block splits what it is given.
    """

    path: str
    streams: tuple[str, ...] = ()
    wide: bool = False


class Tokenwise(NamedTuple):
    """A module that treats every token by itself, so that it may be computed for some of them.

    Attributes:
        path: path of the module within the block; it is among the trunk's `modules`.
        values: path of the projection to the attention's values for the same tokens, in the same
            order, whose norms score them; the module that it belongs to is the attention.
        entry: path of the module at which these tokens enter, '' where it is the module itself.
        beside: paths of modules between the two that do not treat every token by itself. Their
            outputs, of all tokens, are forecast.
        leads: whether the attention has these tokens before others, such as a text's before an
            image's; if not, they come last there.
    """

    path: str
    values: str
    entry: str = ""
    beside: tuple[str, ...] = ()
    leads: bool = False

    def sites_in(self, path: str, block: nn.Module, tokens: Tokens) -> Iterator[Site]:
        """Where some of its tokens are computed, in a block at `path`.

        Raises:
            AttachError: the projection to values is fused with others.
        """
        scored = self._scored(path, block, tokens)
        yield scored
        own: dict[str, Any] = {"score": scored.name, "leads": self.leads, "tokens": tokens}
        if self.entry:
            yield Site(f"{path}.{self.entry}", "entry", **own)
        for module in self.beside:
            yield Site(f"{path}.{module}", "beside", **own)
        yield Site(f"{path}.{self.path}", "tokens", entered=bool(self.entry), **own)

    def _scored(self, path: str, block: nn.Module, tokens: Tokens) -> Site:
        """Where the tokens are scored."""
        attention = self.values.rpartition(".")[0]
        if tokens.by == "attention":
            return Site(f"{path}.{attention}", "received")
        if getattr(attrgetter(attention)(block), "fused_projections", False):
            raise AttachError(
                f"the projections of {path} are fused, so the norms of its values, which say what "
                "tokens to compute, cannot be had: call unfuse_qkv_projections(), or use "
                "by=attention or site='module'"
            )
        return Site(f"{path}.{self.values}", "norm")


@dataclass(frozen=True, kw_only=True)
class Trunk:
    """One list of blocks that the model runs in turn.

    Attributes:
        path: path of the list within the model.
        streams: arguments of a block that it returns updated, in the order it returns them; None
            for a result that is the update of none.
        modules: paths of the modules in a block whose outputs the `module` sites forecast, '' for
            the block itself; those that are None in a block, as a configuration may have it, are
            left out.
        skipped: modules that need not run once these are forecast; None is left out likewise.
        tokenwise: those of the modules that the `tokens` site computes for some tokens; the other
            modules are forecast.
        optional: whether a configuration may leave the list out.
        chained: whether only the next block reads what a block returns, and no other block runs
            in between, so that a span of blocks can be forecast as one; if not, each block of a
            span is forecast by itself.
    """

    path: str
    streams: tuple[str | None, ...]
    modules: tuple[str, ...]
    skipped: tuple[Skip, ...] = ()
    tokenwise: tuple[Tokenwise, ...] = ()
    optional: bool = False
    chained: bool = True

    def sites_in(self, path: str, block: nn.Module, tokens: Tokens | None) -> Iterator[Site]:
        """The sites of the modules in a block.

        Args:
            path: path of the block within the model.
            block: the block.
            tokens: choice of tokens that are computed in the modules that allow it; None where
                all modules are forecast.

        Raises:
            AttachError: the projection that scores tokens is fused with others.
        """
        some = [it for it in self.tokenwise if _has(path, block, it.path)] if tokens else []
        for module in self.modules:
            if _has(path, block, module) and module not in [it.path for it in some]:
                yield Site(f"{path}.{module}".removesuffix("."), "output")
        if tokens is not None:
            # Two kinds of tokens may be scored by one attention.
            yield from dict.fromkeys(s for it in some for s in it.sites_in(path, block, tokens))
        # What only a forecast module reads is read by its tokens too.
        for skip in () if any(it.entry for it in some) else self.skipped:
            if _has(path, block, skip.path):
                yield Site(f"{path}.{skip.path}", "nothing", skip.streams, skip.wide)

    def span_of(self, paths: Sequence[str]) -> Iterator[Site]:
        """The sites of blocks that follow each other: one of all, where they form a chain."""
        # A result that is the update of nothing is read by something else than a next block.
        if self.chained and None not in self.streams:
            yield Site(paths[0], "residual", self.streams, through=tuple(paths[1:]))
        else:
            yield from (Site(path, "residual", self.streams) for path in paths)


def _has(path: str, block: nn.Module, module: str) -> bool:
    """Whether the block at `path` has a module, which a configuration may leave out as None.

    Raises:
        AttachError: the block knows no such module.
    """
    try:
        return not module or attrgetter(module)(block) is not None
    except AttributeError:
        parts = ", ".join(name for name, _ in block.named_children())
        raise AttachError(
            f"the adapter names the module {module!r}, which {path} does not have: write what a "
            f"{type(block).__name__} has ({parts})"
        ) from None
