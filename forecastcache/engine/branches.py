"""Branches: the histories that each branch of guidance gathers in one trajectory."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

from torch import Tensor
from torch.utils import _pytree as pytree

from forecastcache.engine.clock import Position
from forecastcache.errors import HistoryError
from forecastcache.history import History, is_feature, same_values
from forecastcache.predictor import Forecaster
from forecastcache.step import Step

_FORECAST = object()  # holds a feature's place in a nest


class Decision(NamedTuple):
    """What becomes of one call of the model.

    Attributes:
        step: step that the call belongs to.
        forecaster: function that fills in the features; None where the model computes them.
    """

    step: Step
    forecaster: Forecaster | None = None

    @property
    def computes(self) -> bool:
        """Whether the model runs."""
        return self.forecaster is None


class Branch:
    """The histories of one branch: one a tensor a site.

    What is no real tensor in what a module returns (None, a string, integers) is returned as it
    was at the newest computed step.

    Args:
        new_history: function that makes an empty history.
        signature: shapes, dtypes and devices that its calls share.
        shapes: number of the dry run that has the shapes of its calls.

    Attributes:
        memory: notes of a schedule that decides as it runs.
        computed_output: output of its newest computed call, for a schedule that asks for it.
        forecast_output: output of its newest forecast call, likewise.
        conditions: tensors that its newest call was given beside sample and time.
        newest: index of the step of its newest call.
        steady: whether its conditions were seen twice and never changed.
    """

    def __init__(
        self, new_history: Callable[[], History], signature: object, shapes: int = 0
    ) -> None:
        self.signature = signature
        self.shapes = shapes
        self.memory: dict[str, Any] = {}
        self.computed_output: Tensor | None = None
        self.forecast_output: Tensor | None = None
        self.conditions: list[Tensor] | None = None
        self.newest = 0
        self.steady = False
        self._calls = 0
        self._new_history = new_history
        self._histories: dict[str, list[History]] = {}
        self._nests: dict[str, tuple[list[Any], pytree.TreeSpec | None]] = {}

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

    def follow(self, other: Branch) -> None:
        """Take the place of a branch whose features do not serve: its conditions are known."""
        self.conditions, self.steady, self._calls = other.conditions, other.steady, other._calls

    def note_call(self, step: Step, conditions: list[Tensor], carried: bool) -> None:
        """Take note of a call at `step` with these conditions; `carried` if they are its own."""
        if self.conditions is not None:
            first_again = self._calls == 1
            self.steady = carried and (self.steady or first_again)
        self.conditions = conditions
        self.newest = step.index
        self._calls += 1

    def keep(self, step: Step, path: str, feature: Any) -> None:
        """Add the feature that was computed at a site to its histories."""
        leaves, nest = _leaves_of(feature)
        tensors = [leaf for leaf in leaves if is_feature(leaf)]
        if not tensors:
            raise HistoryError(
                f"{path or 'the model'} returned {type(feature).__name__}, in which no tensor is "
                "found to forecast: return a tensor, a tuple, a dict or a diffusers output"
            )
        if path not in self._histories:
            self._histories[path] = [self._new_history() for _ in tensors]
        for history, tensor in zip(self._histories[path], tensors, strict=True):
            history.observe(step, tensor)
        self._nests[path] = [_FORECAST if is_feature(leaf) else leaf for leaf in leaves], nest

    def fill_in(self, forecaster: Forecaster, path: str) -> Any:
        """The forecast feature at a site, nested as the computed one was."""
        if path not in self._histories:
            raise HistoryError(f"{path or 'the output'} is to be forecast but was never computed")
        constants, nest = self._nests[path]
        if nest is None:
            (history,) = self._histories[path]
            return history.like_its_features(forecaster(history))
        forecasts = (
            history.like_its_features(forecaster(history)) for history in self._histories[path]
        )
        leaves = [next(forecasts) if leaf is _FORECAST else leaf for leaf in constants]
        return pytree.tree_unflatten(leaves, nest)


def _leaves_of(feature: Any) -> tuple[list[Any], pytree.TreeSpec | None]:
    """What is nested in a feature, and how; None for a bare tensor."""
    if isinstance(feature, Tensor):
        return [feature], None
    return pytree.tree_flatten(feature)


class CallRecorder(NamedTuple):
    """What the taps of one call report to and take forecasts from.

    The features of a last step are not kept: nothing will be forecast from them.
    """

    branch: Branch
    decision: Decision

    @property
    def computing(self) -> bool:
        return self.decision.forecaster is None

    def observe(self, path: str, feature: Any) -> None:
        if not self.decision.step.is_last:
            self.branch.keep(self.decision.step, path, feature)

    def forecast(self, path: str) -> Any:
        assert self.decision.forecaster is not None
        return self.branch.fill_in(self.decision.forecaster, path)


class Branches(dict[int, Branch]):
    """The branches of a trajectory by number, and which of them a call belongs to."""

    def __init__(self) -> None:
        super().__init__()
        self._called: set[int] = set()  # at the step under way

    def find(self, position: Position, conditions: list[Tensor]) -> tuple[int, bool]:
        """The number of the branch that a call belongs to, and whether it carries `conditions`.

        Three rules, in order. No branch is called twice in a step.

        1. A branch that has these very conditions is the one. Where several have them, it is the
           one at the call's place in the step.
        2. Else it is the branch at the call's place in the step, unless that branch has held to
           other conditions of the same shapes all along (guidance was switched off in between).
        3. Else the call opens a new branch.
        """
        if position.order == 0:
            self._called.clear()
        number, carried = self._choose(position.order, conditions)
        self._called.add(number)
        return number, carried

    def drop_idle(self, last: Step) -> None:
        """At the last step, drop the branches that were switched off: nothing calls them again."""
        for number in [n for n, each in self.items() if each.newest < last.index - 1]:
            del self[number]

    def _choose(self, order: int, conditions: list[Tensor]) -> tuple[int, bool]:
        free = {number: each for number, each in self.items() if number not in self._called}
        for number in sorted(free, key=lambda number: number != order):
            if free[number].carries(conditions):
                return number, True
        if order in free and not free[order].holds_to(conditions):
            return order, False
        taken = self.keys() | self._called
        return (order if order not in taken else max(taken) + 1), False
