"""Restore: a model that afterwards is as it was, whatever others put on it in between."""

from __future__ import annotations

import functools
from collections import OrderedDict
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from diffusers import CacheMixin
from torch import nn

TENSORS = ("_parameters", "_buffers")  # stay where they are: offloading moves them


@contextmanager
def restored(model: nn.Module) -> Iterator[None]:
    """Give all modules of `model` their own class, attributes, children and hooks back.

    diffusers leaves registries and bound forwards behind, cache-dit forwards of its own and
    children in another order.
    """
    before = [(each, type(each), dict(vars(each)), _tables(each)) for each in model.modules()]
    try:
        yield
    finally:
        for module, kind, attributes, tables in before:
            module.__class__ = kind
            vars(module).clear()
            vars(module).update(attributes)
            for name, entries in tables.items():
                attributes[name].clear()
                attributes[name].update(entries)


def _tables(module: nn.Module) -> dict[str, dict[Any, Any]]:
    return {
        name: dict(value)
        for name, value in vars(module).items()
        if type(value) in (dict, OrderedDict) and name not in TENSORS
    }


def lend_caches(model: nn.Module) -> None:
    """Make a model take diffusers' caches where its class, such as DiT's, has not got them.

    Its calls are all in one context, as guidance in one batch is. It lasts until the model is
    restored.
    """
    if not isinstance(model, CacheMixin):
        model.__class__ = _with_caches(type(model))


def _with_caches(own: type[nn.Module]) -> type[nn.Module]:
    @functools.wraps(own.forward)
    def forward(self: Any, *args: Any, **kwargs: Any) -> Any:
        with self.cache_context("all"):
            return own.forward(self, *args, **kwargs)

    return type(own.__name__, (own, CacheMixin), {"forward": forward})
