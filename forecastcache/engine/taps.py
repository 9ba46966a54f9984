"""Taps: stand-ins for a model's modules, in place while the model is being called.

Nothing is left in the model between calls: every call swaps the stand-ins in and the modules
back, also when the call raises; what an interrupt leaves undone, the next call or detach ends.
A computed call passes through and records; a forecast call skips the tapped modules and takes
what they would have returned from the recorder.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from itertools import islice
from typing import Any

from torch import nn

from forecastcache.adapter import Adapter, Site, Trunk
from forecastcache.engine.stand_ins import (
    TAPS,
    Bypass,
    CallUnderWay,
    ModulePlace,
    Recorder,
    Tap,
    pass_output,
)
from forecastcache.errors import AttachError
from forecastcache.granularity import Granularity


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
        self._under_way = CallUnderWay()
        self._taps: list[Tap] = []
        if not self._whole:
            taps = [tap for site in sites for tap in self._of(model, site)]
            # What lies inside another module goes first, while that one is in its place.
            self._taps = sorted(taps, key=lambda tap: -tap.place.path.count("."))
        self._bypassed: list[tuple[ModulePlace, nn.Module]] = []
        self._swapped: list[tuple[nn.Module, str, nn.Module]] = []
        for trunk in bypassed:
            blocks = model.get_submodule(trunk.path).children()
            stub = [Bypass(block, trunk.streams) for block in islice(blocks, 1)]
            self._bypassed.append((ModulePlace.at(trunk.path), nn.ModuleList(stub)))

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
            return pass_output("", recorder, forward, args, kwargs)
        self.restore()
        try:
            self._stand_in(model, recorder)
            return forward(*args, **kwargs)
        finally:
            self.restore()

    def restore(self) -> None:
        """Put every module back; does nothing where all are, and ends what was interrupted."""
        self._under_way.end()
        while self._swapped:
            parent, name, module = self._swapped[-1]
            _set_child(parent, name, module)
            self._swapped.pop()

    def forget(self) -> None:
        """Let go of the modules that are stood in for."""
        self._taps, self._bypassed, self._swapped = [], [], []

    def _of(self, model: nn.Module, site: Site) -> list[Tap]:
        """The stand-ins of one site: one for each block, where it spans several."""
        kind = TAPS[site.feature]
        paths = (site.path, *site.through)
        return [kind(_module_at(model, path), site, self._under_way, path) for path in paths]

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
                if isinstance(bypass, Bypass):
                    bypass.refer_to(block)

    def _put(
        self, parents: dict[str, nn.Module], place: ModulePlace, stand_in: nn.Module
    ) -> nn.Module:
        """Put a stand-in in the place of a module, which is returned."""
        parent = _parent(parents, place)
        module = parent._modules[place.name]
        assert module is not None
        self._swapped.append((parent, place.name, module))
        _set_child(parent, place.name, stand_in)
        return module


def _parent(known: dict[str, nn.Module], place: ModulePlace) -> nn.Module:
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


def _module_at(model: nn.Module, path: str) -> nn.Module:
    try:
        return model.get_submodule(path)
    except AttributeError:
        parts = ", ".join(name for name, _ in model.named_children())
        raise AttachError(
            f"the adapter names the module {path!r}, which {type(model).__name__} lacks: "
            f"write the path of one that it has, which begins with one of {parts}"
        ) from None
