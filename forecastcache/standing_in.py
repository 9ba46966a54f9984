"""Standing in for a method of one object, for a while."""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any


@contextmanager
def standing_in(owner: Any, method: str, call: Callable[..., Any]) -> Iterator[None]:
    """Let calls of `owner.method` come to `call`; what was there before is put back at the end.

    Nothing is touched on the class: other objects of it do not see it.
    """
    replaced = owner.__dict__.get(method)
    setattr(owner, method, functools.wraps(getattr(owner, method))(call))
    try:
        yield
    finally:
        delattr(owner, method)
        if replaced is not None:
            setattr(owner, method, replaced)
