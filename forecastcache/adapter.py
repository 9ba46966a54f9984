"""Adapter: what is known about one model class, as a record."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from itertools import groupby
from typing import Any, Literal

from torch import nn

from forecastcache.errors import AttachError
from forecastcache.granularity import GRANULARITIES, Blocks, Granularity, span_in, tokens_in
from forecastcache.memory.input_size import InputSize
from forecastcache.schedule import Signal
from forecastcache.trunk import Site as Site
from forecastcache.trunk import Skip as Skip
from forecastcache.trunk import Tokenwise as Tokenwise
from forecastcache.trunk import Trunk as Trunk

ANY_MODEL = "*"


@dataclass(frozen=True, kw_only=True)
class Adapter:
    """What forecastcache knows about the model classes it serves.

    Attributes:
        name: name in the registry and in reports.
        models: exact classes, as `package.ClassName`; `*` serves any model that no other
            adapter names.
        time: names that the forward argument with the step's time may have. Of several that a
            call gives, the scheduler's own time tells the step, else the largest.
        sample: names that the forward argument with the sample may have, where it is not the
            first one that holds real numbers.
        trunk: block lists of the model; the first block of the first one is what a schedule that
            asks for `first_block` looks at.
        tail: path of the module whose input is the `hidden` site; several where a model has
            several outputs.
        modulated: path of the module whose first output is the timestep embedding as the first
            block uses it, for adaptive schedules; None where no module returns it.
        grid: function of a call's arguments by name and the model's config that gives the layout
            of the image's tokens, (frames, height, width) or (height, width); for predictors that
            look at an image's frequencies.
        guidance: how the model's pipelines do classifier-free guidance: both halves in one
            batch, in sequential calls, or by embedding the scale, with no second half at all.
        inputs: function of the model's config and a size that gives the arguments of one call
            without the time, for planning; it is called under the meta device.
        without_data: changes a copy of the model that has shapes but no data, where the model
            reads data on its way, so that it runs all the same.
        trim: drops the padding that the model masks out, so that shapes match the run: from a
            call's arguments to those that change.
        shared: names of the arguments that all samples of a batch have in common.
        chunked: whether the model's pipelines make a video chunk by chunk, each in a run of the
            scheduler, and note the steps of all chunks together as their number of steps.
    """

    name: str
    models: tuple[str, ...]
    time: tuple[str, ...] = ("timestep",)
    sample: tuple[str, ...] = ()
    trunk: tuple[Trunk, ...] = ()
    tail: str | tuple[str, ...] | None = None
    modulated: str | None = None
    grid: Callable[[Mapping[str, Any], Any], tuple[int, ...]] | None = None
    guidance: Literal["batched", "sequential", "embedded"] = "sequential"
    inputs: Callable[[Any, InputSize], dict[str, Any]] | None = None
    without_data: Callable[[nn.Module], None] | None = None
    trim: Callable[[Mapping[str, Any]], dict[str, Any]] | None = None
    shared: tuple[str, ...] = ()
    chunked: bool = False

    @property
    def granularities(self) -> tuple[Granularity, ...]:
        """The values of `site=` that this adapter knows, without spans of blocks."""
        known: dict[Granularity, bool] = {
            "output": True,
            "hidden": self.tail is not None,
            "block": bool(self.trunk),
            "module": any(trunk.modules for trunk in self.trunk),
            "tokens": any(trunk.tokenwise for trunk in self.trunk),
        }
        return tuple(name for name in GRANULARITIES if known[name])

    def serves(self, model: type) -> bool:
        """Whether `model` is one of the exact classes; a subclass may have other blocks."""
        return f"{model.__module__.partition('.')[0]}.{model.__qualname__}" in self.models

    def sites(self, model: nn.Module, granularity: Granularity) -> tuple[Site, ...]:
        """The sites of `model` at `granularity`, in the order the model comes to them.

        Raises:
            AttachError: this adapter does not know the granularity, or names what the model lacks,
                or the model has not all blocks of a span.
        """
        span, tokens = span_in(granularity), tokens_in(granularity)
        if span is not None and self.trunk:
            return tuple(self._span(model, span))
        if ("tokens" if tokens else granularity) not in self.granularities:
            raise AttachError(
                f"{type(model).__name__} is served by the adapter {self.name!r}, which has no "
                f"site {granularity!r}: write one of {', '.join(self.granularities)}, or register "
                "an Adapter with this class in `models`, since subclasses may differ inside"
            )
        if granularity == "output":
            return (Site("", "output"),)
        if granularity == "hidden":
            assert self.tail is not None
            tails = (self.tail,) if isinstance(self.tail, str) else self.tail
            return tuple(Site(path, "input") for path in tails)
        blocks = self._blocks(model)
        if not blocks:
            raise AttachError(f"{type(model).__name__} has no blocks: use site='output'")
        if granularity == "block":
            return tuple(Site(path, "residual", trunk.streams) for trunk, path, _ in blocks)
        found = [
            site for trunk, path, block in blocks for site in trunk.sites_in(path, block, tokens)
        ]
        # A module that is left out is none that anything is kept of.
        return tuple(sorted(found, key=lambda site: site.feature == "nothing"))

    def _blocks(self, model: nn.Module) -> list[tuple[Trunk, str, nn.Module]]:
        """The blocks of all trunks, with their paths."""
        return [
            (trunk, f"{trunk.path}.{name}", block)
            for trunk in self.trunks(model)
            for name, block in model.get_submodule(trunk.path).named_children()
        ]

    def _span(self, model: nn.Module, span: Blocks) -> Iterator[Site]:
        """The sites of spans of blocks: one a trunk, where its blocks form a chain."""
        blocks = self._blocks(model)
        found: dict[str, Site] = {}
        for (first, last), during in zip(span.spans, span.during):
            if last >= len(blocks):
                raise AttachError(
                    f"{type(model).__name__} has {len(blocks)} blocks, numbered from 0, and "
                    f"{span} goes beyond them: write block:FIRST-LAST, with LAST at most "
                    f"{len(blocks) - 1}"
                )
            spanned = blocks[first : last + 1]
            for trunk, group in groupby(spanned, key=lambda each: each[0]):
                for site in trunk.span_of([path for _, path, _ in group]):
                    all_along = site.name in found
                    found[site.name] = site if all_along else replace(site, during=during)
        yield from found.values()

    def trunks(self, model: nn.Module) -> tuple[Trunk, ...]:
        """The block lists that `model` has.

        Raises:
            AttachError: it lacks one that is not optional.
        """
        known = {path: module for path, module in model.named_modules() if path}
        for trunk in self.trunk:
            if trunk.path not in known and not trunk.optional:
                lists = [path for path, it in known.items() if isinstance(it, nn.ModuleList)]
                outer = [it for it in lists if not any(it.startswith(f"{o}.") for o in lists)]
                raise AttachError(
                    f"the adapter {self.name!r} names the blocks {trunk.path!r}, which "
                    f"{type(model).__name__} does not have: write one of its lists "
                    f"({', '.join(outer) or 'there are none'}) as the Trunk's path, or "
                    "optional=True where a configuration may leave it out"
                )
        return tuple(trunk for trunk in self.trunk if trunk.path in known)

    def signal_site(self, signal: Signal) -> Site:
        """Where in the model an adaptive schedule's signal is found.

        Raises:
            AttachError: this adapter does not name it.
        """
        if signal == "first_block" and self.trunk:
            return Site(f"{self.trunk[0].path}.0", "residual", self.trunk[0].streams)
        if signal == "modulated" and self.modulated is not None:
            return Site(self.modulated, "output")
        known = "a trunk" if signal == "first_block" else "a module in `modulated`"
        raise AttachError(
            f"the adapter {self.name!r} names no {signal}: use a schedule that does not look at "
            f"it, or register an Adapter with {known}"
        )

    def time_argument(self, model: nn.Module) -> str:
        """The name of the first argument of `model.forward` that carries the step's time.

        Raises:
            AttachError: forward has none of the names in `time`.
        """
        return self.time_arguments(model)[0]

    def time_arguments(self, model: nn.Module) -> tuple[str, ...]:
        """The names of the arguments of `model.forward` that carry the step's time.

        Models that denoise an image and a text at once, or a video and its sound, take a time
        for each of them.

        Raises:
            AttachError: forward has none of the names in `time`.
        """
        arguments = inspect.signature(model.forward).parameters
        found = tuple(name for name in self.time if name in arguments)
        if found:
            return found
        raise AttachError(
            f"{type(model).__name__}.forward takes {', '.join(arguments)}, and none of them is "
            f"{' or '.join(self.time)}: forecasting needs a model that is told the time; "
            "register an Adapter with this class in `models` and the argument in `time`"
        )
