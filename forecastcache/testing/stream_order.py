"""Stream order: whether blocks return what their record says, in its order."""

from __future__ import annotations

import inspect
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from itertools import pairwise
from typing import Any, NamedTuple

from torch import Tensor, nn

from forecastcache.adapter import Trunk
from forecastcache.history import same_values
from forecastcache.testing.requirement import require
from forecastcache.testing.subject import TIMES, Subject


class _BlockCall(NamedTuple):
    """What a block was given, by name, and what it returned."""

    given: Mapping[str, Any]
    returned: Sequence[Any]


def check_stream_order(model: Subject) -> None:
    """The results of each block are those that its Trunk names: the next block is given them so.

    Raises:
        ConformanceError: naming the Trunk, and the streams to write instead.
    """
    for trunk in model.adapter.trunks(model.module):
        calls = _calls_of(model, trunk)
        for call in calls:
            _require_as_many(model, trunk, call)
        orders = [_order_of(call, trunk.streams, after.given) for call, after in pairwise(calls)]
        found = [order for order in orders if order is not None]
        # Between two of them a model may put one stream in the place of another.
        require(
            not found or trunk.streams in found,
            f"{model}: the streams of the Trunk {trunk.path!r} are in the wrong order, "
            f"{trunk.streams}: its blocks return them as {found and found[0]}, by the arguments "
            f"of the next block; write streams={found and found[0]}",
        )


def _calls_of(model: Subject, trunk: Trunk) -> list[_BlockCall]:
    """The calls of a trunk's blocks in one plain call of the model, in their order."""
    calls: list[_BlockCall] = []
    with _recorded(model.module.get_submodule(trunk.path), calls):
        model.call(TIMES[0], {})
    return calls


@contextmanager
def _recorded(blocks: nn.Module, calls: list[_BlockCall]) -> Iterator[None]:
    def record(block: nn.Module, args: Any, kwargs: Any, output: Any) -> None:
        given = inspect.signature(block.forward).bind(*args, **kwargs).arguments
        calls.append(_BlockCall(given, output if isinstance(output, (tuple, list)) else (output,)))

    handles = [it.register_forward_hook(record, with_kwargs=True) for it in blocks.children()]
    try:
        yield
    finally:
        for handle in handles:
            handle.remove()


def _require_as_many(model: Subject, trunk: Trunk, call: _BlockCall) -> None:
    count, named = len(call.returned), len(trunk.streams)
    require(
        count == named,
        f"{model}: a block of the Trunk {trunk.path!r} returns {count} "
        f"result{'s' * (count != 1)} and its streams are {named}, {trunk.streams}: write one name "
        "for each result, None for a result that updates no argument",
    )


def _order_of(
    call: _BlockCall, names: tuple[str | None, ...], given: Mapping[str, Any]
) -> tuple[str | None, ...] | None:
    """The arguments as which the next block is given results; None where it is given none."""
    pairs = zip(call.returned, names, strict=True)
    told = [_argument_of(result, name, given) for result, name in pairs]
    if not any(told):
        return None
    left = [name for name in names if name not in told]
    found = []
    for name, own in zip(told, names, strict=True):
        if name is None and own is not None:
            name = own if own in left else left[0]
            left.remove(name)
        found.append(name)
    return tuple(found)


def _argument_of(result: Any, name: str | None, given: Mapping[str, Any]) -> str | None:
    if not isinstance(result, Tensor) or name is None:
        return None
    known = [it for it, value in given.items() if isinstance(value, Tensor)]
    found = [it for it in known if same_values(result, given[it])]
    return name if name in found else next(iter(found), None)
