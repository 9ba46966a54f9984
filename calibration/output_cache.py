"""Output cache: a network's outputs at the computed steps that schedules have in common.

Rolled in closed loop, two schedules go the same way until they part, so a search needs not compute
again what the schedules it has tried computed before; nor does a run whose rows were changed from
some step on compute again what came before it.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

from torch import nn

from forecastcache._util.nests import tensors_in
from forecastcache.engine.interpose import interposed
from forecastcache.engine.patch import Forward

ROOM = 2 << 30  # bytes

Key = tuple[tuple[int, ...], int, int]


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
        self,
        models: Sequence[nn.Module],
        computed: Sequence[int],
        place: Callable[[], tuple[int, int]],
    ) -> Iterator[list[Any]]:
        """Return known outputs for calls of `models`; gives the outputs of all calls.

        Args:
            models: models of a pipeline, called at the computed steps alone.
            computed: these steps.
            place: function that gives the number of the pipeline's call under way, and that of
                the steps that its sampler has made.
        """
        before: dict[int, tuple[int, int]] = {}  # step of each call's newest, and its branch
        outputs = list[Any]()

        def key() -> Key:
            call, now = place()
            step, branch = before.get(call, (-1, 0))
            branch = branch + 1 if now == step else 0
            before[call] = now, branch
            return tuple(c for c in computed if c <= now), call, branch

        def recalling(forward: Forward) -> Forward:
            def recall(*args: Any, **kwargs: Any) -> Any:
                outputs.append(self._recall(key(), lambda: forward(*args, **kwargs)))
                return outputs[-1]

            return recall

        with interposed(models, recalling):
            yield outputs

    def _recall(self, key: Key, make: Callable[[], Any]) -> Any:
        """The output that is known by a key, or else made."""
        if key in self._outputs:
            self.hits += 1
            self._outputs.move_to_end(key)
            return self._outputs[key]
        self.misses += 1
        output = make()
        self._keep(key, output)
        return output

    def _keep(self, key: Key, output: Any) -> None:
        self._outputs[key] = output
        self._held += _bytes(output)
        while self._held > self._room:
            _, oldest = self._outputs.popitem(last=False)
            self._held -= _bytes(oldest)


@contextmanager
def played_back(models: Sequence[nn.Module], known: Sequence[Any]) -> Iterator[list[Any]]:
    """Return what is known at the first calls of `models`; gives the outputs of all calls."""
    outputs = list[Any]()

    def playing(forward: Forward) -> Forward:
        def play(*args: Any, **kwargs: Any) -> Any:
            number = len(outputs)
            spared = number < len(known)
            outputs.append(known[number] if spared else forward(*args, **kwargs))
            return outputs[-1]

        return play

    with interposed(models, playing):
        yield outputs


def _bytes(output: Any) -> int:
    return sum(tensor.nbytes for tensor in tensors_in(output))
