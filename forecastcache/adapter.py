"""Adapter: what is known about one model class, as a record."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from operator import attrgetter
from typing import Any, Literal, NamedTuple, get_args

from torch import nn

from forecastcache.errors import AttachError
from forecastcache.memory.input_size import InputSize
from forecastcache.schedule import Signal

Granularity = Literal["output", "hidden", "block", "module"]
GRANULARITIES: tuple[Granularity, ...] = get_args(Granularity)
ANY_MODEL = "*"


@dataclass(frozen=True)
class Site:
    """A named place in a model whose tensors are forecast.

    Attributes:
        path: path of the module within the model; '' is the model itself.
        feature: the tensor that is forecast there: the module's `output`, its first `input`, its
            `residual` (what it returns less what it was given), or `nothing`, where another site
            makes the module needless.
        streams: the arguments whose change a residual is, in the order in which the module returns
            them, None for a result that is the update of none and is forecast whole; for nothing,
            the arguments that are returned instead, () for the first.
        wide: for nothing, whether the argument is given the width of the module's output.
    """

    path: str
    feature: Literal["output", "input", "residual", "nothing"]
    streams: tuple[str | None, ...] = ()
    wide: bool = False


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
        optional: whether a configuration may leave the list out.
    """

    path: str
    streams: tuple[str | None, ...]
    modules: tuple[str, ...]
    skipped: tuple[Skip, ...] = ()
    optional: bool = False


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
        """The values of `site=` that this adapter knows."""
        known: dict[Granularity, bool] = {
            "output": True,
            "hidden": self.tail is not None,
            "block": bool(self.trunk),
            "module": any(trunk.modules for trunk in self.trunk),
        }
        return tuple(name for name in GRANULARITIES if known[name])

    def serves(self, model: type) -> bool:
        """Whether `model` is one of the exact classes; a subclass may have other blocks."""
        return f"{model.__module__.partition('.')[0]}.{model.__qualname__}" in self.models

    def sites(self, model: nn.Module, granularity: Granularity) -> tuple[Site, ...]:
        """The sites of `model` at `granularity`, in the order the model comes to them.

        Raises:
            AttachError: this adapter does not know the granularity, or names what the model lacks.
        """
        if granularity not in self.granularities:
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
        blocks = [
            (trunk, f"{trunk.path}.{name}", block)
            for trunk in self.trunks(model)
            for name, block in model.get_submodule(trunk.path).named_children()
        ]
        if not blocks:
            raise AttachError(f"{type(model).__name__} has no blocks: use site='output'")
        if granularity == "block":
            return tuple(Site(path, "residual", trunk.streams) for trunk, path, _ in blocks)
        outputs = [
            Site(f"{path}.{module}".removesuffix("."), "output")
            for trunk, path, block in blocks
            for module in trunk.modules
            if not module or self._inside(path, block, module) is not None
        ]
        needless = [
            Site(f"{path}.{skip.path}", "nothing", skip.streams, skip.wide)
            for trunk, path, block in blocks
            for skip in trunk.skipped
            if self._inside(path, block, skip.path) is not None
        ]
        return (*outputs, *needless)

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

    def _inside(self, path: str, block: nn.Module, module: str) -> Any:
        try:
            return attrgetter(module)(block)
        except AttributeError:
            parts = ", ".join(name for name, _ in block.named_children())
            raise AttachError(
                f"the adapter {self.name!r} names the module {module!r}, which {path} does not "
                f"have: write what a {type(block).__name__} has ({parts})"
            ) from None

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
