"""Interposing: what stands between a pipeline and its models for a while."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager

from torch import nn

from forecastcache._util.swap import swapped
from forecastcache.engine.patch import Forward, place_of_call


@contextmanager
def interposed(
    models: Sequence[nn.Module], around: Callable[[Forward], Forward]
) -> Iterator[None]:
    """Send the calls of all models through `around`; nothing is left on them afterwards.

    Args:
        models: models of one pipeline, which may take turns in a run.
        around: function that is given what a call of one model runs, and gives another
            function that stands for it.
    """
    with ExitStack() as held:
        for model in models:
            place = place_of_call(model)
            held.enter_context(swapped(model, place, around(getattr(model, place))))
        yield
