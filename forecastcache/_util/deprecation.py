"""Deprecation: an old way of calling goes on for a while, and says what replaces it."""

from __future__ import annotations

import functools
import warnings
from collections.abc import Callable
from typing import Any, TypeVar, cast

from forecastcache.errors import ForecastCacheDeprecationWarning

Function = TypeVar("Function", bound=Callable[..., Any])


def renamed_argument(old: str, new: str, since: str) -> Callable[[Function], Function]:
    """Decorator: take the keyword argument `old` for `new`, with a warning.

        @renamed_argument("computed", "count", since="0.2")
        def choose(self, count: int) -> ...

    Args:
        old: name that callers may still use.
        new: name of the parameter.
        since: version that renamed it.

    Raises:
        TypeError: when called with both.
    """

    def decorate(function: Function) -> Function:
        @functools.wraps(function)
        def call(*args: Any, **kwargs: Any) -> Any:
            if old in kwargs:
                if new in kwargs:
                    raise TypeError(f"{function.__name__}() was given both {old} and {new}")
                warnings.warn(
                    f"{function.__name__}({old}=...) is deprecated since {since}: "
                    f"write {new}= instead",
                    ForecastCacheDeprecationWarning,
                    stacklevel=2,
                )
                kwargs[new] = kwargs.pop(old)
            return function(*args, **kwargs)

        return cast(Function, call)

    return decorate
