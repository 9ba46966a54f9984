"""Branch: the histories that one branch of guidance gathers in one trajectory."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

from torch import Tensor
from torch.utils import _pytree as pytree

from forecastcache.clock import Tick
from forecastcache.errors import HistoryError
from forecastcache.history import History, is_feature, same_values
from forecastcache.predictor import Forecaster
from forecastcache.schedule import State
from forecastcache.step import Step

_FORECAST = object()  # holds a feature's place in a nest


class Branch:
    """One history a tensor a site. Taps record here and take forecasts from here.

    What is no real tensor in what a module returns (None, a string, integers) is returned as it
    was at the newest computed step.

    Args:
        new_history: makes an empty history.
        likeness: what its calls have in common: shapes, dtypes, devices.
        kind: number of the rehearsal that its calls are like.

    Attributes:
        state: for schedules that decide as they run.
        conditions: tensors that the newest call was given beside sample and time.
        newest: index of the step of the newest call.
        steady: whether its conditions were seen twice and never changed.
    """

    def __init__(
        self, new_history: Callable[[], History], likeness: object, kind: int = 0
    ) -> None:
        self.state = State()
        self.likeness = likeness
        self.kind = kind
        self.conditions: list[Tensor] | None = None
        self.newest = 0
        self.steady = False
        self._calls = 0
        self._new_history = new_history
        self._histories: dict[str, list[History]] = {}
        self._nests: dict[str, tuple[list[Any], pytree.TreeSpec]] = {}
        self._step: Step | None = None
        self._forecaster: Forecaster | None = None

    @property
    def steps(self) -> tuple[Step, ...]:
        """The steps in the histories, oldest first."""
        return next((history.steps for history in self.histories()), ())

    def histories(self) -> Iterator[History]:
        return (history for histories in self._histories.values() for history in histories)

    def carries(self, conditions: list[Tensor]) -> bool:
        """Whether a call with these conditions looks like one of this branch."""
        known = self.conditions
        return (
            known is not None
            and len(conditions) == len(known)
            and all(map(same_values, conditions, known))
        )

    def holds_to(self, conditions: list[Tensor]) -> bool:
        """Whether its own conditions are as large as these and have never changed."""
        known = self.conditions or []
        return self.steady and [x.shape for x in known] == [x.shape for x in conditions]

    def meet(self, step: Step, conditions: list[Tensor], carried: bool) -> None:
        """Take note of a call at `step` with these conditions; `carried` if they are its own."""
        if self.conditions is not None:
            first_again = self._calls == 1
            self.steady = carried and (self.steady or first_again)
        self.conditions = conditions
        self.newest = step.index
        self._calls += 1

    def compute(self, step: Step | None) -> None:
        """The next call is computed; features are kept as those of `step`, or not if None."""
        self._step, self._forecaster = step, None

    def fill_in(self, forecaster: Forecaster) -> None:
        """The next call takes its features from `forecaster`."""
        self._step, self._forecaster = None, forecaster

    @property
    def computing(self) -> bool:
        return self._forecaster is None

    def observe(self, path: str, feature: Any) -> None:
        if self._step is None:
            return
        leaves, nest = pytree.tree_flatten(feature)
        tensors = [leaf for leaf in leaves if is_feature(leaf)]
        if not tensors:
            raise HistoryError(
                f"{path or 'the model'} returned {type(feature).__name__}, in which no tensor is "
                "found to forecast: return a tensor, a tuple, a dict or a diffusers output"
            )
        if path not in self._histories:
            self._histories[path] = [self._new_history() for _ in tensors]
        for history, tensor in zip(self._histories[path], tensors, strict=True):
            history.observe(self._step, tensor)
        self._nests[path] = [_FORECAST if is_feature(leaf) else leaf for leaf in leaves], nest

    def forecast(self, path: str) -> Any:
        if path not in self._histories or self._forecaster is None:
            raise HistoryError(f"{path or 'the output'} is to be forecast but was never computed")
        constants, nest = self._nests[path]
        forecasts = (
            history.like_its_features(self._forecaster(history))
            for history in self._histories[path]
        )
        leaves = [next(forecasts) if leaf is _FORECAST else leaf for leaf in constants]
        return pytree.tree_unflatten(leaves, nest)


class Branches(dict[int, Branch]):
    """The branches of a trajectory by number, and which of them a call is of."""

    def __init__(self) -> None:
        super().__init__()
        self._called: set[int] = set()  # at the step under way

    def find(self, tick: Tick, conditions: list[Tensor]) -> tuple[int, bool]:
        """The number of the branch that the call at `tick` is of, and if it carries `conditions`.

        Branches are told by position in the step, but one may have been switched off. So a call
        that carries the conditions of another branch, and not those of the branch at its
        position, is of that other one; and one that carries what no branch does opens a branch,
        unless that at its position has had changing conditions all along. A branch is called
        once a step.
        """
        if tick.position == 0:
            self._called.clear()
        number, carried = self._choose(tick.position, conditions)
        self._called.add(number)
        return number, carried

    def let_go_of_idle(self, last: Step) -> None:
        """At the last step, of those that were switched off: nothing will call them any more."""
        for number in [n for n, each in self.items() if each.newest < last.index - 1]:
            del self[number]

    def _choose(self, position: int, conditions: list[Tensor]) -> tuple[int, bool]:
        free = {number: each for number, each in self.items() if number not in self._called}
        # That at the position first: it is most often the one, and another may carry the same.
        for number in sorted(free, key=lambda number: number != position):
            if free[number].carries(conditions):
                return number, True
        if position not in self or (position in free and not free[position].holds_to(conditions)):
            return position, False
        return max(self) + 1, False
