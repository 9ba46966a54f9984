"""Probe: a look into the model for a schedule that decides as it runs.

The model's own forward is called and ends where the probe has seen what it was sent for, so
everything before that place runs and nothing after it does.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from torch import Tensor, nn
from torch.utils import _pytree as pytree

from forecastcache.adapter import Site
from forecastcache.engine.taps import Taps
from forecastcache.errors import AttachError
from forecastcache.history import is_feature

IMAGE_STREAM = "hidden_states"  # what a block calls the image's tokens, beside those of the text


class Probe:
    """Reads the feature of one site and lets the rest of the model be.

    Args:
        model: model that is looked into.
        site: place of the feature: a residual of a block or the output of a module.
    """

    def __init__(self, model: nn.Module, site: Site) -> None:
        self._site = site
        self._taps = Taps(model, [site])

    def value(
        self, model: nn.Module, forward: Callable[..., Any], args: Any, kwargs: Any
    ) -> Tensor:
        """The feature of a call with these arguments; of several tensors the image's or the first.

        Raises:
            AttachError: the model's forward never comes to the site.
        """
        try:
            self._taps.call(model, _Stop(), forward, args, kwargs)
        except _Reached as reached:
            return self._read(reached.feature)
        raise AttachError(
            f"{type(model).__name__} was called without running {self._site.path}: name a module "
            "that every call runs"
        )

    def restore(self) -> None:
        """Put back what an interrupted look has left in the model."""
        self._taps.restore()

    def _read(self, feature: Any) -> Tensor:
        tensors = [leaf for leaf in pytree.tree_leaves(feature) if is_feature(leaf)]
        streams = self._site.streams
        chosen: Tensor = tensors[streams.index(IMAGE_STREAM) if IMAGE_STREAM in streams else 0]
        return chosen.detach()  # a schedule's notes would keep a graph alive


class _Reached(Exception):
    """Ends a forward with the feature that was looked for."""

    def __init__(self, feature: Any) -> None:
        super().__init__()
        self.feature = feature


class _Stop:
    """A recorder that stops the model at the first feature it is shown."""

    computing = True
    age, share = 0, 0.0

    def observe(self, path: str, feature: Any) -> None:
        raise _Reached(feature)

    def forecast(self, path: str) -> Any:
        raise NotImplementedError("a probe forecasts nothing")
