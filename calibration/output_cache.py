"""Output cache: a network's outputs at the computed steps that schedules have in common.

Rolled in closed loop, two schedules go the same way until they part, so a search needs not compute
again what the schedules it has tried computed before; nor does a run whose rows were changed from
some step on compute again what came before it.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any, NamedTuple

from torch import nn

from forecastcache._util.nests import tensors_in
from forecastcache.engine.interpose import interposed
from forecastcache.engine.patch import Forward

ROOM = 2 << 30  # bytes

Now = Callable[[], tuple[int, int]]


class Place(NamedTuple):
    """Where a network is called.

    Attributes:
        call: number of the pipeline's call, of those that are sampled side by side.
        step: number of the step.
        branch: number of the network's call within the step.
    """

    call: int
    step: int
    branch: int


Outputs = Mapping[Place, Any]
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
        self, models: Sequence[nn.Module], computed: Sequence[int], now: Now
    ) -> Iterator[Outputs]:
        """Return known outputs for calls of `models`; gives the outputs of all calls.

        Args:
            models: models of a pipeline, called at the computed steps alone.
            computed: these steps.
            now: function that gives the number of the pipeline's call under way, and that of the
                steps that its sampler has made.
        """

        def answer(place: Place, compute: Callable[[], Any]) -> Any:
            key = (tuple(c for c in computed if c <= place.step), place.call, place.branch)
            if key in self._outputs:
                self.hits += 1
                self._outputs.move_to_end(key)
                return self._outputs[key]
            self.misses += 1
            output = compute()
            self._keep(key, output)
            return output

        with _answered(models, now, answer) as outputs:
            yield outputs

    def _keep(self, key: Key, output: Any) -> None:
        self._outputs[key] = output
        self._held += _bytes(output)
        while self._held > self._room:
            _, oldest = self._outputs.popitem(last=False)
            self._held -= _bytes(oldest)


@contextmanager
def played_back(models: Sequence[nn.Module], known: Outputs, now: Now) -> Iterator[Outputs]:
    """Return what is known where it is known; gives the outputs of all calls.

    Args:
        models: models of a pipeline.
        known: what they return, as far as that is known.
        now: as `OutputCache.serving` has it.
    """

    def answer(place: Place, compute: Callable[[], Any]) -> Any:
        return known[place] if place in known else compute()

    with _answered(models, now, answer) as outputs:
        yield outputs


@contextmanager
def _answered(
    models: Sequence[nn.Module], now: Now, answer: Callable[[Place, Callable[[], Any]], Any]
) -> Iterator[Outputs]:
    outputs = dict[Place, Any]()
    newest: dict[int, Place] = {}  # of each call

    def called() -> Place:
        call, step = now()
        before = newest.get(call)
        branch = before.branch + 1 if before is not None and before.step == step else 0
        newest[call] = Place(call, step, branch)
        return newest[call]

    def answered(_: int, forward: Forward, args: Any, kwargs: Any) -> Any:
        place = called()
        outputs[place] = answer(place, lambda: forward(*args, **kwargs))
        return outputs[place]

    with interposed(models, answered):
        yield outputs


def _bytes(output: Any) -> int:
    return sum(tensor.nbytes for tensor in tensors_in(output))
