"""Streams: the tensors that a block is given and returns updated."""

from __future__ import annotations

import inspect
from collections.abc import Sequence
from typing import Any, TypeAlias

from torch import Tensor, nn

from forecastcache._util.nests import tensors_in
from forecastcache.errors import AttachError

Stream: TypeAlias = Tensor | None


class Streams:
    """The arguments that a block returns updated.

    Args:
        block: block of a model.
        names: names of its arguments, in the order in which it returns them updated; None for a
            result that is the update of none.

    Raises:
        AttachError: the block takes no argument of one of the names.
    """

    def __init__(self, block: nn.Module, names: tuple[str | None, ...]) -> None:
        self._signature = inspect.signature(block.forward)
        self._names = names
        takes = self._signature.parameters
        unknown = [name for name in names if name and name not in takes]
        if unknown:
            raise AttachError(
                f"the adapter names the stream {unknown[0]!r}, which {type(block).__name__} does "
                f"not take: write one of the arguments of its forward, {', '.join(takes)}"
            )

    def read(self, args: Any, kwargs: Any) -> list[Stream]:
        """What a call gives, None for a result that is the update of nothing."""
        given = self._signature.bind(*args, **kwargs).arguments
        return [None if name is None else given[name] for name in self._names]

    def unchanged(self, args: Any, kwargs: Any) -> Any:
        """What the block would return if it changed nothing."""
        streams = self.read(args, kwargs)
        if None in self._names:
            # The model may add it to something of any shape.
            zero = tensors_in((args, kwargs))[0].new_zeros(())
            streams = [
                zero if name is None else it for name, it in zip(self._names, streams, strict=True)
            ]
        return packed(streams)


def packed(streams: Sequence[Stream]) -> Any:
    """Streams as a block returns them."""
    return streams[0] if len(streams) == 1 else tuple(streams)


def residuals_of(returned: Any, given: Sequence[Stream]) -> tuple[Stream, ...]:
    """What a block has added to each stream.

    The last block of some models returns None for the text; an update of none stands for itself.
    """
    updated = (returned,) if isinstance(returned, Tensor) else returned
    pairs = zip(updated, given, strict=True)
    return tuple(new if new is None or old is None else new - old for new, old in pairs)


def with_residuals(given: Sequence[Stream], residuals: Sequence[Stream]) -> list[Stream]:
    """The streams after a block that adds these."""
    pairs = zip(given, residuals, strict=True)
    return [by if by is None or old is None else old + by for old, by in pairs]
