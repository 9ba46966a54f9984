"""Watched: what runs in a model on trial, and what lies in it."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from torch import nn

from forecastcache.granularity import Granularity
from forecastcache.testing.subject import Subject


def traces(model: nn.Module) -> set[tuple[str, str]]:
    """Which module stands where, and what lies on the instances."""
    return {
        (path, name)
        for path, module in model.named_modules()
        for name in (str(id(module)), *module.__dict__)
    }


@contextmanager
def running(model: Subject, site: Granularity) -> Iterator[list[str]]:
    """The paths of all blocks as they run, and at `output` of every child."""
    calls: list[str] = []
    watched = {
        f"{place}.{name}".removeprefix("."): module
        for place in (
            [""] if site == "output" else [it.path for it in model.adapter.trunks(model.module)]
        )
        for name, module in model.module.get_submodule(place).named_children()
    }
    handles = [
        module.register_forward_pre_hook(lambda *_, path=path: calls.append(path))
        for path, module in watched.items()
    ]
    try:
        yield calls
    finally:
        for handle in handles:
            handle.remove()
