"""Branch: the histories that one branch of guidance gathers in one trajectory."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

from torch import Tensor
from torch.utils import _pytree as pytree

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

    Attributes:
        state: for schedules that decide as they run.
        conditions: tensors that the newest call was given beside sample and time.
    """

    def __init__(self, new_history: Callable[[], History], likeness: object) -> None:
        self.state = State()
        self.likeness = likeness
        self.conditions: list[Tensor] = []
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
        return len(conditions) == len(self.conditions) and all(
            map(same_values, conditions, self.conditions)
        )

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
        forecasts = map(self._forecaster, self._histories[path])
        leaves = [next(forecasts) if leaf is _FORECAST else leaf for leaf in constants]
        return pytree.tree_unflatten(leaves, nest)
