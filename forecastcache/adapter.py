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
            them; for nothing, the arguments that are returned instead, () for the first.
    """

    path: str
    feature: Literal["output", "input", "residual", "nothing"]
    streams: tuple[str, ...] = ()


class Skip(NamedTuple):
    """A module whose result only a forecast module reads, so that a forecast makes it needless.

    Attributes:
        path: path of the module within the block.
        streams: arguments that are returned unchanged instead, () for the first alone.
    """

    path: str
    streams: tuple[str, ...] = ()


@dataclass(frozen=True, kw_only=True)
class Trunk:
    """One list of blocks that the model runs in turn.

    Attributes:
        path: path of the list within the model.
        streams: arguments of a block that it returns updated, in the order it returns them.
        modules: paths of the modules in a block whose outputs the `module` sites forecast; a block
            that has None there has no such site.
        skipped: modules that need not run once these are forecast.
    """

    path: str
    streams: tuple[str, ...]
    modules: tuple[str, ...]
    skipped: tuple[Skip, ...] = ()


@dataclass(frozen=True, kw_only=True)
class Adapter:
    """What forecastcache knows about the model classes it serves.

    Attributes:
        name: name in the registry and in reports.
        models: exact classes, as `package.ClassName`; `*` serves any model that no other
            adapter names.
        time: names that the forward argument with the step's time may have.
        trunk: block lists of the model, in the order it runs them.
        tail: path of the module whose input is the `hidden` site.
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
    """

    name: str
    models: tuple[str, ...]
    time: tuple[str, ...] = ("timestep",)
    trunk: tuple[Trunk, ...] = ()
    tail: str | None = None
    modulated: str | None = None
    grid: Callable[[Mapping[str, Any], Any], tuple[int, ...]] | None = None
    guidance: Literal["batched", "sequential", "embedded"] = "sequential"
    inputs: Callable[[Any, InputSize], dict[str, Any]] | None = None
    without_data: Callable[[nn.Module], None] | None = None
    trim: Callable[[Mapping[str, Any]], dict[str, Any]] | None = None
    shared: tuple[str, ...] = ()

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
            AttachError: this adapter does not know the granularity.
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
            return (Site(str(self.tail), "input"),)
        blocks = [
            (trunk, f"{trunk.path}.{name}")
            for trunk in self.trunk
            for name, _ in model.get_submodule(trunk.path).named_children()
        ]
        if granularity == "block":
            return tuple(Site(path, "residual", trunk.streams) for trunk, path in blocks)
        outputs = [
            Site(f"{path}.{module}", "output")
            for trunk, path in blocks
            for module in trunk.modules
            if attrgetter(f"{path}.{module}")(model) is not None
        ]
        needless = [
            Site(f"{path}.{skip.path}", "nothing", skip.streams)
            for trunk, path in blocks
            for skip in trunk.skipped
        ]
        return (*outputs, *needless)

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
        """The name of the argument of `model.forward` that carries the step's time.

        Raises:
            AttachError: forward has none of the names in `time`.
        """
        arguments = inspect.signature(model.forward).parameters
        for name in self.time:
            if name in arguments:
                return name
        raise AttachError(
            f"{type(model).__name__}.forward takes {', '.join(arguments)}, and none of them is "
            f"{' or '.join(self.time)}: forecasting needs a model that is told the time; "
            "register an Adapter with this class in `models` and the argument in `time`"
        )
