"""Patch: what stands as `forward` on a model while a session is attached to it."""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable
from typing import Any

from torch import nn

from forecastcache.errors import AttachError

Forward = Callable[..., Any]


class Patch:
    """Stands as `forward` on the instance; passes through once it is removed.

    Args:
        model: to be patched; its class is not touched.
        call: what calls of the model come to, given its own forward and their arguments.
        owner: as errors name it.
    """

    def __init__(
        self, model: nn.Module, call: Callable[[Forward, Any, Any], Any], owner: str
    ) -> None:
        self.original: Forward = model.forward
        # Pipelines read the signature. What else the wrapped one carries is not this one's.
        functools.update_wrapper(self, self.original, updated=())
        self.owner = owner
        self._call: Callable[[Forward, Any, Any], Any] | None = call
        self._replaced = model.__dict__.get("forward")
        model.forward = self

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        if self._call is None:
            return self.original(*args, **kwargs)
        return self._call(self.original, args, kwargs)

    @property
    def active(self) -> bool:
        """Whether calls go to the owner."""
        return self._call is not None

    def remove(self, model: nn.Module) -> None:
        """Put back what was there."""
        self._call = None
        # What was put over this one later, an offload hook say, stays and calls through it.
        if model.__dict__.get("forward") is self:
            del model.forward
            if self._replaced is not None:
                model.forward = self._replaced

    def __getstate__(self) -> dict[str, Any]:
        if self.active:
            raise AttachError(
                "an attached model can be neither copied nor pickled, its copy would call the "
                f"original: detach {self.owner} first"
            )
        return self.__dict__


def active_patch(model: nn.Module) -> Patch | None:
    """The patch that calls of `model` go through, also from under somebody else's hook."""
    found = inspect.unwrap(model.forward, stop=lambda forward: isinstance(forward, Patch))
    return found if isinstance(found, Patch) and found.active else None
