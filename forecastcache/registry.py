"""Registries: predictors, schedules and adapters by name, built in or not.

Installed packages register through entry points, scripts and notebooks with the decorators.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterator
from functools import cache
from importlib.metadata import EntryPoint, entry_points
from types import FunctionType
from typing import Any, Generic, TypeVar

from torch import nn

from forecastcache.adapter import ANY_MODEL, Adapter
from forecastcache.errors import (
    AttachError,
    ForecastCacheError,
    ForecastCacheWarning,
    NameTakenError,
    UnknownNameError,
)
from forecastcache.predictor import Predictor
from forecastcache.schedule import Schedule

Thing = TypeVar("Thing")


class Registry(Generic[Thing]):
    """Things of one kind, by name.

    Args:
        kind: name of the kind in errors.
        group: entry-point group in which installed packages declare such things.
        accepts: function that says whether a thing is of this kind.
    """

    def __init__(self, kind: str, group: str, accepts: Callable[[Any], bool]) -> None:
        self.kind = kind
        self.group = group
        self._accepts = accepts
        self._added: dict[str, Thing] = {}

    def add(self, name: str, thing: Thing) -> None:
        """Register `thing`; the same definition run again (a notebook cell) takes its place.

        A package may both declare an entry point and decorate the class that it declares.

        Raises:
            NameTakenError: something else has the name.
            ForecastCacheError: `thing` is not of this kind.
        """
        if not self._accepts(thing):
            raise ForecastCacheError(f"{thing!r} is registered as {self.kind}, but is none")
        points = declared(self.group).get(name, [])
        owners = [_owner(it) for it in points if it.value.replace(":", ".") != _place(thing)]
        if name in self._added and _place(self._added[name]) != _place(thing):
            owners.append(_place(self._added[name]))
        if owners:
            raise NameTakenError(
                f"the {self.kind} name {name!r} of {_place(thing)} is taken by {owners[0]}: "
                "choose another name"
            )
        self._added[name] = thing

    def get(self, name: str) -> Thing:
        """The thing called `name`.

        Raises:
            UnknownNameError: listing the names that are known.
            NameTakenError: two installed packages claim the name.
            ForecastCacheError: a package declares under this name what cannot be used.
        """
        return self._find(name, declared(self.group))

    def _find(self, name: str, installed: dict[str, list[EntryPoint]]) -> Thing:
        if name in self._added:
            return self._added[name]
        points = installed.get(name)
        if not points:
            raise UnknownNameError(
                f"no {self.kind} is called {name!r}: write one of {', '.join(self.names())}"
            )
        if len(points) > 1:
            owners = " and by ".join(map(_owner, points))
            raise NameTakenError(
                f"the {self.kind} name {name!r} is taken by {owners}: uninstall one of them"
            )
        try:
            thing: Any = points[0].load()
        except Exception as error:
            raise ForecastCacheError(
                f"the {self.kind} {name!r} of {_owner(points[0])} cannot be loaded "
                f"({type(error).__name__}: {error}): repair or uninstall that package"
            ) from error
        if not self._accepts(thing):
            raise ForecastCacheError(
                f"{_owner(points[0])} is declared as {self.kind}, but is none"
            )
        found: Thing = thing
        return found

    def name_of(self, thing: Thing) -> str | None:
        """The name by which `thing` is found; None if it is not registered."""
        return next((name for name, known in self.items() if known is thing), None)

    def names(self) -> list[str]:
        """Every name, in alphabetical order."""
        return sorted({*self._added, *declared(self.group)})

    def items(self) -> Iterator[tuple[str, Thing]]:
        """Every name with its thing; what cannot be had is left out with a warning."""
        installed = declared(self.group)
        for name in sorted({*self._added, *installed}):
            try:
                thing = self._find(name, installed)
            except ForecastCacheError as error:
                warnings.warn(str(error), ForecastCacheWarning, stacklevel=2)
            else:
                yield name, thing


@cache
def declared(group: str) -> dict[str, list[EntryPoint]]:
    """What installed packages declare in a group of entry points, by name.

    Read once, since that takes 30 ms: what is installed later, the next process sees.
    """
    found: dict[str, dict[str, EntryPoint]] = {}
    for point in entry_points(group=group):
        # The checkout and its installed copy may both be on the path: one owner all the same.
        found.setdefault(point.name, {})[_owner(point)] = point
    return {name: list(points.values()) for name, points in found.items()}


def _owner(point: EntryPoint) -> str:
    package = f"{point.dist.name} {point.dist.version}" if point.dist else "an unnamed package"
    return f"{package} ({point.value})"


def _place(thing: Any) -> str:
    if isinstance(thing, (type, FunctionType)):
        return f"{thing.__module__}.{thing.__qualname__}"
    return repr(thing)


def is_class_of(base: type) -> Callable[[Any], bool]:
    """A function that says whether a thing is a subclass of `base`."""
    return lambda thing: isinstance(thing, type) and issubclass(thing, base)


PREDICTORS: Registry[type[Predictor]] = Registry(
    "predictor", "forecastcache.predictors", is_class_of(Predictor)
)
SCHEDULES: Registry[type[Schedule]] = Registry(
    "schedule", "forecastcache.schedules", is_class_of(Schedule)
)
ADAPTERS: Registry[Adapter] = Registry(
    "adapter", "forecastcache.adapters", lambda thing: isinstance(thing, Adapter)
)

PredictorClass = TypeVar("PredictorClass", bound=type[Predictor])
ScheduleClass = TypeVar("ScheduleClass", bound=type[Schedule])


def register_predictor(name: str) -> Callable[[PredictorClass], PredictorClass]:
    """Class decorator: make a predictor known by `name`.

    Raises:
        NameTakenError: another predictor has the name.
    """
    return decorator(PREDICTORS, name)


def register_schedule(name: str) -> Callable[[ScheduleClass], ScheduleClass]:
    """Class decorator: make a schedule known by `name`.

    Raises:
        NameTakenError: another schedule has the name.
    """
    return decorator(SCHEDULES, name)


def register_adapter(adapter: Adapter) -> Adapter:
    """Make an adapter known by its own name.

    Raises:
        NameTakenError: another adapter has the name.
    """
    ADAPTERS.add(getattr(adapter, "name", ""), adapter)
    return adapter


def adapter_for(model: nn.Module) -> Adapter:
    """The adapter that names the exact class of `model`, else the one that serves any.

    Raises:
        AttachError: two adapters name the class.
    """
    return adapter_of(type(model))


def adapter_of(kind: type) -> Adapter:
    """The adapter that names a class of models, else the one that serves any.

    Raises:
        AttachError: two adapters name the class.
    """
    adapters = [adapter for _, adapter in ADAPTERS.items()]
    exact = [adapter for adapter in adapters if adapter.serves(kind)]
    fallback = [adapter for adapter in adapters if ANY_MODEL in adapter.models]
    if len(exact) > 1:
        names = " and ".join(repr(adapter.name) for adapter in exact)
        raise AttachError(
            f"{kind.__name__} is served by the adapters {names}: keep one, and "
            "take the class out of the `models` of the other, or uninstall its package"
        )
    return (exact or fallback)[0]


def decorator(registry: Registry[Any], name: str) -> Callable[[Any], Any]:
    """A class decorator that registers under `name`."""

    def register(thing: Any) -> Any:
        registry.add(name, thing)
        return thing

    return register
