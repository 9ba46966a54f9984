"""Interposing: what stands between a pipeline and its models for a while."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from typing import Any, TypeAlias

from torch import nn

from forecastcache._util.swap import swapped
from forecastcache.engine.patch import Forward, place_of_call

Between: TypeAlias = Callable[[int, Forward, tuple[Any, ...], dict[str, Any]], Any]


@contextmanager
def interposed(models: Sequence[nn.Module], between: Between) -> Iterator[None]:
    """Send the calls of all models through `between`; nothing is left on them afterwards.

    Args:
        models: models of one pipeline, which may take turns in a run.
        between: function of the number of the model that is called, what the call runs, and its
            arguments, to what is returned.
    """

    def stand_in(number: int, forward: Forward) -> Forward:
        return lambda *args, **kwargs: between(number, forward, args, kwargs)

    with ExitStack() as held:
        for number, model in enumerate(models):
            place = place_of_call(model)
            held.enter_context(swapped(model, place, stand_in(number, getattr(model, place))))
        yield
