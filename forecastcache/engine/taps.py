"""Taps: stand-ins for a model's modules, in place while the model is being called.

Nothing is left in the model between calls: every call swaps the stand-ins in and the modules
back, also when the call raises; what an interrupt leaves undone, the next call or detach ends.
A computed call passes through and records; a forecast call skips the tapped modules and takes
what they would have returned from the recorder.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple, Protocol

from torch import Tensor, nn

from forecastcache.adapter import Adapter, Granularity, Site, Trunk


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
        bypassed: block lists that a forecast call leaves out, the first but for one block that
            returns what it was given.
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
        for i, trunk in enumerate(bypassed):
            blocks = model.get_submodule(trunk.path)
            stub = [_Bypass(next(blocks.children()), trunk.streams)] if i == 0 else []
            self._bypassed.append((_Place.at(trunk.path), nn.ModuleList(stub)))

    @classmethod
    def at(cls, model: nn.Module, adapter: Adapter, granularity: Granularity) -> Taps:
        """The stand-ins for the sites of one granularity.

        Raises:
            AttachError: the adapter does not know the granularity.
        """
        sites = adapter.sites(model, granularity)
        return cls(model, sites, adapter.trunk if granularity == "hidden" else ())

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
        return _TAPS[site.feature](model.get_submodule(site.path), site, self._under_way)

    def _stand_in(self, model: nn.Module, recorder: Recorder) -> None:
        self._under_way.begin(recorder)
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
    """The call that the stand-ins of a model are in place for; its recorder is None between calls.

    A module that runs more than once in a call, as CogView4's MLP for the image and for the text,
    has features of its own for each turn.
    """

    def __init__(self) -> None:
        self.recorder: Recorder | None = None
        self._turns: dict[str, int] = {}

    def begin(self, recorder: Recorder) -> None:
        self.recorder = recorder
        self._turns.clear()

    def place(self, path: str) -> str:
        """The path by which the recorder knows the next turn of a module."""
        turn = self._turns[path] = self._turns.get(path, 0) + 1
        return path if turn == 1 else f"{path}#{turn}"


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
        path = self._under_way.place(self.site.path)
        return _pass_output(path, self._call, self.module, args, kwargs)


class _InputTap(_Tap):
    def forward(self, *args: Any, **kwargs: Any) -> Any:
        if self._call.computing:
            self._call.observe(self.site.path, args[0])
            return self.module(*args, **kwargs)
        return self.module(self._call.forecast(self.site.path), *args[1:], **kwargs)


class _ResidualTap(_Tap):
    def __init__(self, module: nn.Module, site: Site, under_way: _Call) -> None:
        super().__init__(module, site, under_way)
        self._streams = _Streams(module, site.streams)

    def forward(self, *args: Any, **kwargs: Any) -> Any:
        given = self._streams.read(args, kwargs)
        if not self._call.computing:
            residuals = self._call.forecast(self.site.path)
            pairs = zip(given, residuals, strict=True)
            return self._streams.pack([None if r is None else g + r for g, r in pairs])
        returned = self.module(*args, **kwargs)
        updated = (returned,) if isinstance(returned, Tensor) else returned
        pairs = zip(updated, given, strict=True)
        # The last block of some models returns no text.
        residuals = tuple(None if u is None else u - g for u, g in pairs)
        self._call.observe(self.site.path, residuals)
        return returned


class _NothingTap(_Tap):
    def forward(self, *args: Any, **kwargs: Any) -> Any:
        if self._call.computing:
            return self.module(*args, **kwargs)
        if not self.site.streams:
            return args[0] if args else next(iter(kwargs.values()))
        # Read anew: the module may have been replaced, by one with adapters say.
        streams = _Streams(self.module, self.site.streams)
        return streams.pack(streams.read(args, kwargs))


class _Bypass(_StandIn):
    """A block that returns what it was given, for the tail to replace."""

    def __init__(self, module: nn.Module, streams: tuple[str, ...]) -> None:
        super().__init__(module)
        self._streams = _Streams(module, streams)

    def forward(self, *args: Any, **kwargs: Any) -> Any:
        return self._streams.pack(self._streams.read(args, kwargs))


class _Streams:
    """The arguments that a block returns updated."""

    def __init__(self, block: nn.Module, names: tuple[str, ...]) -> None:
        self._signature = inspect.signature(block.forward)
        self._names = names

    def read(self, args: Any, kwargs: Any) -> list[Tensor]:
        given = self._signature.bind(*args, **kwargs).arguments
        return [given[name] for name in self._names]

    @staticmethod
    def pack(streams: Sequence[Tensor | None]) -> Any:
        return streams[0] if len(streams) == 1 else tuple(streams)


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
