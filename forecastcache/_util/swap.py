"""Swapping a method of one object for a while."""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any


@contextmanager
def swapped(owner: Any, method: str, replacement: Callable[..., Any]) -> Iterator[None]:
    """Send calls of `owner.method` to `replacement`; the method is put back at the end.

    The class is not touched: other objects of it do not see the replacement.
    """
    before = owner.__dict__.get(method)
    setattr(owner, method, functools.wraps(getattr(owner, method))(replacement))
    try:
        yield
    finally:
        delattr(owner, method)
        if before is not None:
            setattr(owner, method, before)
