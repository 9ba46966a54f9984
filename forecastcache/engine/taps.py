"""Taps: stand-ins for a model's modules, in place while the model is being called.

Nothing is left in the model between calls: every call swaps the stand-ins in and the modules
back, also when the call raises; what an interrupt leaves undone, the next call or detach ends.
A computed call passes through and records; a forecast call skips the tapped modules and takes
what they would have returned from the recorder.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from itertools import islice
from typing import Any, NamedTuple, Protocol

from torch import nn

from forecastcache.adapter import Adapter, Granularity, Site, Trunk
from forecastcache.engine.streams import Streams, packed, residuals_of, with_residuals
from forecastcache.errors import AttachError


class Recorder(Protocol):
    """What taps report computed features to and take forecast ones from, in one call."""

    @property
    def computing(self) -> bool:
        """Whether this call of the model is computed."""

    def observe(self, path: str, feature: Any) -> None:
        """Take note of the computed feature, a tensor or a nest of tensors, at a site."""

    def forecast(self, path: str) -> Any:
        """The forecast feature at a site, nested as the computed one was."""


class Taps:
    """The stand-ins for one model.

    Args:
        model: model whose modules are stood in for.
        sites: the places where features are recorded and forecast.
        bypassed: block lists of which a forecast call runs one stand-in each, which returns what
            it was given.
    """

    def __init__(
        self, model: nn.Module, sites: Sequence[Site], bypassed: Sequence[Trunk] = ()
    ) -> None:
        self.sites = tuple(sites)
        self._whole = self.sites[0].path == ""
        self._under_way = _Call()
        self._taps = [] if self._whole else [self._tap(model, site) for site in sites]
        self._bypassed: list[tuple[_Place, nn.Module]] = []
        self._swapped: list[tuple[nn.Module, str, nn.Module]] = []
        for trunk in bypassed:
            blocks = model.get_submodule(trunk.path).children()
            stub = [_Bypass(block, trunk.streams) for block in islice(blocks, 1)]
            self._bypassed.append((_Place.at(trunk.path), nn.ModuleList(stub)))

    @classmethod
    def at(cls, model: nn.Module, adapter: Adapter, granularity: Granularity) -> Taps:
        """The stand-ins for the sites of one granularity.

        Raises:
            AttachError: the adapter does not know the granularity, or names what the model lacks.
        """
        sites = adapter.sites(model, granularity)
        return cls(model, sites, adapter.trunks(model) if granularity == "hidden" else ())

    def call(
        self,
        model: nn.Module,
        recorder: Recorder,
        forward: Callable[..., Any],
        args: Any,
        kwargs: Any,
    ) -> Any:
        """Call the `forward` of `model` with the stand-ins in place."""
        if self._whole:
            return _pass_output("", recorder, forward, args, kwargs)
        self.restore()
        try:
            self._stand_in(model, recorder)
            return forward(*args, **kwargs)
        finally:
            self.restore()

    def restore(self) -> None:
        """Put every module back; does nothing where all are, and ends what was interrupted."""
        self._under_way.recorder = None
        while self._swapped:
            parent, name, module = self._swapped[-1]
            _set_child(parent, name, module)
            self._swapped.pop()

    def forget(self) -> None:
        """Let go of the modules that are stood in for."""
        self._taps, self._bypassed, self._swapped = [], [], []

    def _tap(self, model: nn.Module, site: Site) -> _Tap:
        try:
            module = model.get_submodule(site.path)
        except AttributeError:
            parts = ", ".join(name for name, _ in model.named_children())
            raise AttachError(
                f"the adapter names the module {site.path!r}, which {type(model).__name__} lacks: "
                f"write the path of one that it has, which begins with one of {parts}"
            ) from None
        return _TAPS[site.feature](module, site, self._under_way)

    def _stand_in(self, model: nn.Module, recorder: Recorder) -> None:
        self._under_way.recorder = recorder
        self._under_way.runs.clear()
        parents = {"": model}
        for tap in self._taps:
            module = self._put(parents, tap.place, tap)
            if tap.module is not module:  # it was replaced since the last call
                tap.refer_to(module)
        if recorder.computing:
            return
        for place, stand_in in self._bypassed:
            module = self._put(parents, place, stand_in)
            for bypass, block in zip(stand_in.children(), module.children()):
                if isinstance(bypass, _Bypass):
                    bypass.refer_to(block)

    def _put(self, parents: dict[str, nn.Module], place: _Place, stand_in: nn.Module) -> nn.Module:
        """Put a stand-in in the place of a module, which is returned."""
        parent = _parent(parents, place)
        module = parent._modules[place.name]
        assert module is not None
        self._swapped.append((parent, place.name, module))
        _set_child(parent, place.name, stand_in)
        return module


class _Place(NamedTuple):
    """Where a module stands: its name in its parent, and where that stands; None for the model."""

    path: str
    name: str
    parent: _Place | None

    @classmethod
    def at(cls, path: str) -> _Place:
        above, _, name = path.rpartition(".")
        return cls(path, name, cls.at(above) if above else None)


def _parent(known: dict[str, nn.Module], place: _Place) -> nn.Module:
    """The module that another stands in, as it is now; `known` has those found so far."""
    if place.parent is None:
        return known[""]
    found = known.get(place.parent.path)
    if found is None:
        above = _parent(known, place.parent)
        found = known[place.parent.path] = getattr(above, place.parent.name)
    return found


def _set_child(parent: nn.Module, name: str, child: nn.Module) -> None:
    """Give a module another child, without the checks of setattr, which cost more than a site."""
    parent._modules[name] = child


class _Call:
    """The call that the stand-ins of a model are in place for.

    Attributes:
        recorder: recorder of the call; None between calls.
        runs: how often a module has run in it, by path.
    """

    def __init__(self) -> None:
        self.recorder: Recorder | None = None
        self.runs: dict[str, int] = {}

    def name(self, path: str) -> str:
        """The name of a module's next feature: the path, with a number from the second run on."""
        count = self.runs[path] = self.runs.get(path, 0) + 1
        return path if count == 1 else f"{path}#{count}"


class _StandIn(nn.Module):
    """Looks like the module it stands for: attributes that it lacks are the module's."""

    def __init__(self, module: nn.Module) -> None:
        super().__init__()
        self.refer_to(module)

    def refer_to(self, module: nn.Module) -> None:
        # Not a child: the module's parameters stay where the model has them.
        object.__setattr__(self, "module", module)

    def __getattr__(self, name: str) -> Any:
        try:
            return super().__getattr__(name)
        except AttributeError:
            return getattr(object.__getattribute__(self, "module"), name)


class _Tap(_StandIn):
    """A stand-in that shows one site to the recorder of the call under way."""

    def __init__(self, module: nn.Module, site: Site, under_way: _Call) -> None:
        super().__init__(module)
        self.site = site
        self.place = _Place.at(site.path)
        self._under_way = under_way

    @property
    def _call(self) -> Recorder:
        recorder = self._under_way.recorder
        if recorder is None:
            raise RuntimeError(f"the tap at {self.site.path} was called outside its model")
        return recorder


class _OutputTap(_Tap):
    def forward(self, *args: Any, **kwargs: Any) -> Any:
        recorder, name = self._call, self._under_way.name(self.site.path)
        return _pass_output(name, recorder, self.module, args, kwargs)


class _InputTap(_Tap):
    def forward(self, *args: Any, **kwargs: Any) -> Any:
        if self._call.computing:
            self._call.observe(self.site.path, args[0])
            return self.module(*args, **kwargs)
        return self.module(self._call.forecast(self.site.path), *args[1:], **kwargs)


class _ResidualTap(_Tap):
    def __init__(self, module: nn.Module, site: Site, under_way: _Call) -> None:
        super().__init__(module, site, under_way)
        self._streams = Streams(module, site.streams)

    def forward(self, *args: Any, **kwargs: Any) -> Any:
        given = self._streams.read(args, kwargs)
        if not self._call.computing:
            return packed(with_residuals(given, self._call.forecast(self.site.path)))
        returned = self.module(*args, **kwargs)
        self._call.observe(self.site.path, residuals_of(returned, given))
        return returned


class _NothingTap(_Tap):
    def forward(self, *args: Any, **kwargs: Any) -> Any:
        if self._call.computing:
            return self.module(*args, **kwargs)
        if not self.site.streams:
            given = args[0] if args else next(iter(kwargs.values()))
            if self.site.wide:
                return given[..., :1].expand(*given.shape[:-1], self.module.out_features)
            return given
        # Read anew: the module may have been replaced, by one with adapters say.
        return Streams(self.module, self.site.streams).unchanged(args, kwargs)


class _Bypass(_StandIn):
    """A block that returns what it was given, for the tail to replace."""

    def __init__(self, module: nn.Module, streams: tuple[str | None, ...]) -> None:
        super().__init__(module)
        self._streams = Streams(module, streams)

    def forward(self, *args: Any, **kwargs: Any) -> Any:
        return self._streams.unchanged(args, kwargs)


_TAPS: dict[str, type[_Tap]] = {
    "output": _OutputTap,
    "input": _InputTap,
    "residual": _ResidualTap,
    "nothing": _NothingTap,
}


def _pass_output(
    path: str, recorder: Recorder, compute: Callable[..., Any], args: Any, kwargs: Any
) -> Any:
    if not recorder.computing:
        return recorder.forecast(path)
    output = compute(*args, **kwargs)
    recorder.observe(path, output)
    return output
