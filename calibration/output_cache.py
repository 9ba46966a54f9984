"""Output cache: a network's outputs at the computed steps that schedules have in common.

Rolled in closed loop, two schedules go the same way until they part, so a search needs not compute
again what the schedules it has tried computed before.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

from torch import nn

from forecastcache._util.nests import tensors_in
from forecastcache._util.swap import swapped
from forecastcache.engine.patch import place_of_call

ROOM = 2 << 30  # bytes

Key = tuple[tuple[int, ...], int]


class OutputCache:
    """LRU cache of model outputs, keyed by the prefix of computed steps.

    Args:
        room: bytes that the outputs may hold.

    Attributes:
        hits: number of calls that were spared.
        misses: number of calls that were not.
    """

    def __init__(self, room: int = ROOM) -> None:
        self.hits = self.misses = 0
        self._room = room
        self._held = 0
        self._outputs: OrderedDict[Key, Any] = OrderedDict()

    @contextmanager
    def serving(
        self, model: nn.Module, computed: Sequence[int], made: Callable[[], int]
    ) -> Iterator[None]:
        """Return known outputs for calls of `model`; nothing is left after.

        Args:
            model: model that is called at the computed steps alone.
            computed: these steps.
            made: function that gives the number of steps that the sampler has made.
        """
        place = place_of_call(model)
        forward = getattr(model, place)
        step, position = -1, 0

        def recall(*args: Any, **kwargs: Any) -> Any:
            nonlocal step, position
            now = made()
            step, position = now, position + 1 if now == step else 0
            key = (tuple(c for c in computed if c <= now), position)
            if key in self._outputs:
                self.hits += 1
                self._outputs.move_to_end(key)
                return self._outputs[key]
            self.misses += 1
            output = forward(*args, **kwargs)
            self._keep(key, output)
            return output

        with swapped(model, place, recall):
            yield

    def _keep(self, key: Key, output: Any) -> None:
        self._outputs[key] = output
        self._held += _bytes(output)
        while self._held > self._room:
            _, oldest = self._outputs.popitem(last=False)
            self._held -= _bytes(oldest)


def _bytes(output: Any) -> int:
    return sum(tensor.nbytes for tensor in tensors_in(output))
