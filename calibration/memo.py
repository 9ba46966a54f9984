"""Memo: what a network answered at the computed steps that two schedules have in common.

Rolled in closed loop, two schedules go the same way until they part, so a search needs not compute
again what the schedules it has tried computed before.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

from torch import Tensor, nn
from torch.utils import _pytree as pytree

from forecastcache.standing_in import standing_in

ROOM = 2 << 30  # bytes

Key = tuple[tuple[int, ...], int]


class Memo:
    """Answers by the computed steps up to theirs, the oldest let go of when there is no room.

    Args:
        room: bytes that they may hold.

    Attributes:
        recalled: calls that were spared.
        computed: calls that were not.
    """

    def __init__(self, room: int = ROOM) -> None:
        self.recalled = self.computed = 0
        self._room = room
        self._held = 0
        self._answers: OrderedDict[Key, Any] = OrderedDict()

    @contextmanager
    def on(
        self, model: nn.Module, computed: Sequence[int], made: Callable[[], int]
    ) -> Iterator[None]:
        """Answer calls of `model` from memory where they are known; nothing is left after.

        Args:
            model: called at the computed steps alone.
            computed: these steps.
            made: how many steps the sampler has made.
        """
        forward = model.forward
        step, position = -1, 0

        def recall(*args: Any, **kwargs: Any) -> Any:
            nonlocal step, position
            now = made()
            step, position = now, position + 1 if now == step else 0
            key = (tuple(c for c in computed if c <= now), position)
            if key in self._answers:
                self.recalled += 1
                self._answers.move_to_end(key)
                return self._answers[key]
            self.computed += 1
            answer = forward(*args, **kwargs)
            self._keep(key, answer)
            return answer

        with standing_in(model, "forward", recall):
            yield

    def _keep(self, key: Key, answer: Any) -> None:
        self._answers[key] = answer
        self._held += _bytes(answer)
        while self._held > self._room:
            _, oldest = self._answers.popitem(last=False)
            self._held -= _bytes(oldest)


def _bytes(answer: Any) -> int:
    tensors = (leaf for leaf in pytree.tree_leaves(answer) if isinstance(leaf, Tensor))
    return sum(tensor.nbytes for tensor in tensors)
