"""Patch: what stands as `forward` on a model while a session is attached to it."""

from __future__ import annotations

import functools
import inspect
import weakref
from collections.abc import Callable
from typing import Any, Protocol

from torch import nn

from forecastcache.errors import AttachError

Forward = Callable[..., Any]
INSIDE = (
    "the model was compiled while it was attached, which puts the session inside the graph: "
    "detach it, call model.compile(), then attach"
)
COMPILED = "_compiled_call_impl"  # where torch keeps what model.compile() made


class Owner(Protocol):
    """The session that a patch sends calls to."""

    def detach(self) -> None:
        """Remove the patch."""

    def reset(self) -> None:
        """Let go of all features."""


class Patch:
    """Stands in a model for what its calls run; passes calls through once it is removed.

    It replaces `forward`, or, once `model.compile()` was called, the compiled call: a session
    inside the compiled graph would break it.

    Args:
        model: model to patch, on the instance; its class is not touched.
        call: function that calls of the model go to, with its own forward and their arguments.
        owner: session that the patch belongs to.
    """

    def __init__(
        self, model: nn.Module, call: Callable[[Forward, Any, Any], Any], owner: Owner
    ) -> None:
        self.place = place_of_call(model)
        found: Forward = getattr(model, self.place)
        # Its own method would keep the model alive in a circle.
        own = inspect.ismethod(found) and found.__self__ is model
        self._original: Callable[[], Forward | None] = (
            weakref.WeakMethod(found) if own else functools.partial(_itself, found)
        )
        for name in functools.WRAPPER_ASSIGNMENTS:
            if hasattr(model.forward, name):
                setattr(self, name, getattr(model.forward, name))
        self.owner: Owner | None = owner
        self._call: Callable[[Forward, Any, Any], Any] | None = call
        self._replaced = model.__dict__.get(self.place)
        self._model: Callable[[], nn.Module | None] = weakref.ref(model)
        setattr(model, self.place, self)

    @property
    def original(self) -> Forward:
        """What the patch stands for."""
        original = self._original()
        assert original is not None
        return original

    @property
    def __wrapped__(self) -> Forward:
        """As functools.wraps has it: pipelines read the signature."""
        return self.original

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        if self._call is None:
            return self.original(*args, **kwargs)
        if self.place == "forward" and is_compiled(self._model()):
            raise AttachError(INSIDE)
        return self._call(self.original, args, kwargs)

    def remove(self, model: nn.Module) -> None:
        """Put back what was there."""
        self._call, self.owner, self._model = None, None, _no_model
        self._original = functools.partial(_itself, self.original)
        # What was put over this one later, an offload hook say, stays and calls through it.
        if model.__dict__.get(self.place) is self:
            delattr(model, self.place)
            if self._replaced is not None:
                setattr(model, self.place, self._replaced)

    def __getstate__(self) -> dict[str, Any]:
        if self.owner is not None:
            raise AttachError(
                "an attached model can be neither copied nor pickled, its copy would call the "
                f"original: detach {self.owner} first"
            )
        return self.__dict__


def _itself(forward: Forward) -> Forward:
    return forward


def _no_model() -> None:
    """Stands for the model of a removed patch; unlike a weak reference it can be pickled."""


def active_patch(model: nn.Module) -> Patch | None:
    """The patch that calls of `model` go through, also from under somebody else's hook."""
    for place in (COMPILED, "forward"):
        outermost = getattr(model, place, None) or model.forward
        found = inspect.unwrap(outermost, stop=lambda each: isinstance(each, Patch))
        if isinstance(found, Patch) and found.owner is not None:
            return found
    return None


def place_of_call(model: nn.Module) -> str:
    """The attribute that a call of `model` runs: its forward, or what compiling made of it."""
    return COMPILED if is_compiled(model) else "forward"


def is_compiled(model: nn.Module | None) -> bool:
    """Whether `model.compile()` was called."""
    return getattr(model, COMPILED, None) is not None
