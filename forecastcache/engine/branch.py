"""Branch: the histories that one branch of guidance gathers in one trajectory."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import Any, NamedTuple, TypeAlias

from torch import Tensor
from torch.utils import _pytree as pytree
from torch.utils._pytree import TreeSpec

from forecastcache.errors import HistoryError, ScheduleError
from forecastcache.history import Beside, History, is_feature, same_values
from forecastcache.predictor import Forecaster, RowForecaster
from forecastcache.step import Step

_FORECAST = object()  # holds a feature's place in a nest
TOGETHER = 4 * 2**20  # bytes of features whose forecasts may be made ahead, to be made together
Nest: TypeAlias = TreeSpec | type[tuple[Any, ...]] | None  # None for a bare tensor


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
        beside: what its calls show beside the features, for a predictor that asks for it.

    Attributes:
        new_history: function that makes an empty history, as given.
        memory: notes of a schedule that decides as it runs.
        computed_output: output of its newest computed call, for a schedule that asks for it.
        forecast_output: output of its newest forecast call, likewise.
        conditions: tensors that its newest call was given beside sample and time.
        newest: index of the step of its newest call.
        steady: whether its conditions were seen twice and never changed.
        calls: number of its calls.
    """

    def __init__(
        self,
        new_history: Callable[[], History],
        signature: object,
        shapes: int = 0,
        beside: Mapping[str, Beside] | None = None,
    ) -> None:
        self.signature, self.shapes = signature, shapes
        self.beside = beside or {}
        self.memory: dict[str, Any] = {}
        self.computed_output: Tensor | None = None
        self.forecast_output: Tensor | None = None
        self.conditions: list[Tensor] | None = None
        self.newest = 0
        self.steady = False
        self.calls = 0
        self.new_history = new_history
        self._histories: dict[str, list[History]] = {}
        self._nests: dict[str, tuple[list[Any], Nest]] = {}
        self._together: dict[str, list[str]] | None = None

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

    def has_shapes_of(self, conditions: list[Tensor]) -> bool:
        """Whether its own conditions are as large as these."""
        return [x.shape for x in self.conditions or []] == [x.shape for x in conditions]

    @property
    def changes(self) -> bool:
        """Whether its conditions are known to have other values at every call."""
        return self.calls > 1 and not self.steady

    def follow(self, other: Branch) -> None:
        """Take the place of a branch whose features do not serve: its conditions are known."""
        self.conditions, self.steady, self.calls = other.conditions, other.steady, other.calls

    def note_call(self, step: Step, conditions: list[Tensor], carried: bool) -> None:
        """Take note of a call at `step` with these conditions; `carried` if they are its own."""
        if self.conditions is not None:
            first_again = self.calls == 1
            self.steady = carried and (self.steady or first_again)
        self.conditions = conditions
        self.newest = step.index
        self.calls += 1

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
            self._histories[path] = [self.new_history() for _ in tensors]
            self._together = None
        for history, tensor in zip(self._histories[path], tensors, strict=True):
            history.observe(step, tensor)
        self._nests[path] = [_FORECAST if is_feature(leaf) else leaf for leaf in leaves], nest

    def fill_in(self, forecaster: Forecaster, path: str, ahead: dict[str, list[Tensor]]) -> Any:
        """The forecast feature at a site, nested as the computed one was.

        Args:
            forecaster: function that forecasts from a history.
            path: path of the site.
            ahead: forecasts of this call that were made together with another site's.
        """
        if path not in self._histories:
            raise HistoryError(f"{path or 'the output'} is to be forecast but was never computed")
        if len(self._histories) > 1 and isinstance(forecaster, RowForecaster):
            if path not in ahead:
                ahead |= self._made_together(path, forecaster)
            forecasts = ahead.pop(path)
        else:
            forecasts = [forecaster(each) for each in self._histories[path]]
        constants, nest = self._nests[path]
        if nest is None:
            return forecasts[0]
        filled = iter(forecasts)
        leaves = [next(filled) if leaf is _FORECAST else leaf for leaf in constants]
        return pytree.tree_unflatten(leaves, nest) if isinstance(nest, TreeSpec) else tuple(leaves)

    def _made_together(self, path: str, forecaster: RowForecaster) -> dict[str, list[Tensor]]:
        """The forecasts at a site, and at those that are small enough to be made with it."""
        if self._together is None:
            self._together = _together(self._histories)
        paths = self._together[path]
        forecasts = iter(forecaster.at_all([h for path in paths for h in self._histories[path]]))
        return {path: [next(forecasts) for _ in self._histories[path]] for path in paths}


def _together(histories: dict[str, list[History]]) -> dict[str, list[str]]:
    """For each site the sites whose forecasts are made with its own: small ones in a row."""
    groups: list[list[str]] = []
    held = 0
    for path, own in histories.items():
        feature = sum(history.nbytes // history.depth for history in own)
        if not groups or held + feature > TOGETHER:
            groups.append([])
            held = 0
        groups[-1].append(path)
        held += feature
    return {path: group for group in groups for path in group}


def _leaves_of(feature: Any) -> tuple[list[Any], Nest]:
    """What is nested in a feature, and how."""
    if isinstance(feature, Tensor):
        return [feature], None
    if type(feature) is tuple and all(isinstance(leaf, Tensor) for leaf in feature):
        return list(feature), tuple  # as most models return; pytree takes long
    return pytree.tree_flatten(feature)


class CallRecorder(NamedTuple):
    """What the taps of one call report to and take forecasts from.

    The features of a last step are not kept: nothing will be forecast from them.
    """

    branch: Branch
    decision: Decision
    ahead: dict[str, list[Tensor]]

    @property
    def computing(self) -> bool:
        return self.decision.forecaster is None

    @property
    def age(self) -> int:
        return self.decision.step.index - self.branch.steps[-1].index

    @property
    def share(self) -> float:
        share = self.decision.step.share
        if share is None:
            raise ScheduleError(
                "a span of blocks that moves needs the number of steps, which a bare model does "
                "not tell: attach the pipeline instead of its model, or leave out then="
            )
        return share

    def observe(self, path: str, feature: Any) -> None:
        if not self.decision.step.is_last:
            self.branch.keep(self.decision.step, path, feature)

    def forecast(self, path: str) -> Any:
        assert self.decision.forecaster is not None
        return self.branch.fill_in(self.decision.forecaster, path, self.ahead)
