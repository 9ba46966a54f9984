"""Host: one model under a session, and what its calls say."""

from __future__ import annotations

import inspect
import weakref
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils import _pytree as pytree

from forecastcache.adapter import Adapter, Granularity
from forecastcache.errors import AttachError
from forecastcache.patch import Forward, Patch, is_compiled
from forecastcache.taps import Recorder, Taps


@dataclass(frozen=True)
class Reading:
    """What one call says.

    Attributes:
        time: of its step.
        sample: the first tensor it was given.
        conditions: the other tensors, without the time.
        likeness: what two calls must share for the features of one to forecast the other's.
        given: every argument by name.
    """

    time: float
    sample: Tensor
    conditions: list[Tensor]
    likeness: object
    given: dict[str, Any]


class Host:
    """A model that a session is attached to, held weakly.

    Args:
        model: whose calls are to be seen.
        adapter: that serves it.
        site: granularity.

    Raises:
        AttachError: the adapter does not know the granularity, or the model takes no time.
    """

    def __init__(self, model: nn.Module, adapter: Adapter, site: Granularity) -> None:
        self.name = type(model).__name__
        self._model = weakref.ref(model)
        self._time = adapter.time_argument(model)
        self._signature = inspect.signature(model.forward)
        parameters = self._signature.parameters.values()
        self._others = next((p.name for p in parameters if p.kind is p.VAR_KEYWORD), None)
        self._taps = Taps(model, adapter, site)
        self._require_reach(model)
        self._patch: Patch | None = None

    @property
    def model(self) -> nn.Module | None:
        """The model; None once nobody else holds it."""
        return self._model()

    def attach(self, call: Callable[[Forward, Any, Any], Any], owner: str) -> None:
        """Send calls of the model to `call`."""
        model = self.model
        assert model is not None
        self._patch = Patch(model, call, owner)

    def detach(self) -> None:
        """Leave the model as it was found; a second call does nothing."""
        model, patch, self._patch = self.model, self._patch, None
        if model is not None and patch is not None:
            self._taps.restore()
            patch.remove(model)

    def _require_reach(self, model: nn.Module) -> None:
        """Refuse sites inside what is compiled: reaching them would break its graph."""
        for site in self._taps.sites:
            places = site.path.split(".")[:-1] if site.path else []
            for path in {"", *(".".join(places[:i]) for i in range(1, len(places) + 1))}:
                if site.path and is_compiled(model.get_submodule(path)):
                    raise AttachError(
                        f"{path or self.name} is compiled, and inside it {site.path} cannot be "
                        "reached without breaking its graph: use a site outside it (output for a "
                        "compiled model; output, hidden or block for compiled blocks), or compile "
                        "smaller parts"
                    )

    def read(self, args: Any, kwargs: Any) -> Reading:
        """What a call with these arguments says.

        Raises:
            AttachError: it brings no time or no tensor.
        """
        given = dict(self._signature.bind(*args, **kwargs).arguments)
        if self._others is not None:
            given |= given.pop(self._others, {})
        time = given.get(self._time)
        tensors = [x for n, x in given.items() if isinstance(x, Tensor) and n != self._time]
        if time is None or not tensors:
            raise AttachError(
                f"{self.name} was called without "
                f"{self._time if time is None else 'a tensor'}: forecasting needs it at every call"
            )
        leaves = pytree.tree_leaves((args, kwargs))
        kinds = ((x.shape, x.dtype, x.device) for x in leaves if isinstance(x, Tensor))
        return Reading(
            # Where the tokens have times of their own, those of given frames are 0.
            time=float(torch.as_tensor(time).max()),
            sample=tensors[0],
            conditions=tensors[1:],
            likeness=(given.get("return_dict"), *kinds),
            given=given,
        )

    def run(self, recorder: Recorder, forward: Forward, args: Any, kwargs: Any) -> Any:
        """Call the model's own `forward`, its sites shown to `recorder`."""
        model = self.model
        assert model is not None
        return self._taps.call(model, recorder, forward, args, kwargs)
