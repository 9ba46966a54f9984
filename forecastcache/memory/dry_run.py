"""Dry run: one computed and one forecast step of a model without data, for shapes and FLOPs."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils import _pytree as pytree

from forecastcache.adapter import Adapter
from forecastcache.engine.taps import Taps
from forecastcache.errors import PlanError
from forecastcache.granularity import Granularity, tokens_in
from forecastcache.history import History, is_feature
from forecastcache.memory.autocast import Autocast
from forecastcache.memory.twin import twin_of
from forecastcache.memory.without_data import WithoutData

MOST_ANSWERS = 16  # dry runs of one call whose conditions depend on data


def measured_bytes(histories: Iterable[History]) -> int:
    """Bytes that the histories hold."""
    return sum(history.nbytes for history in histories)


@dataclass(frozen=True)
class DryRun:
    """What one computed and one forecast step come to.

    Attributes:
        sites: meta tensors by path, one for each feature that a computed step keeps there.
        flops_computed: operations of a computed step as torch's FLOP counter counts them: matrix
            products, convolutions and attention, a multiplication and an addition each.
        flops_forecast: operations of a forecast step; the forecast itself is none of these.
        flops_resting: operations of every second forecast step in a row, where it computes fewer
            tokens than the others; None where all are alike.
    """

    sites: Mapping[str, tuple[Tensor, ...]]
    flops_computed: int
    flops_forecast: int
    flops_resting: int | None = None

    def flops(self, age: int) -> int:
        """Operations of a step, so many steps after the newest computed one; 0 for that one."""
        if age == 0:
            return self.flops_computed
        if self.flops_resting is not None and age % 2 == 0:
            return self.flops_resting
        return self.flops_forecast

    def planned_bytes(self, depth: int, dtype: torch.dtype | None = None) -> int:
        """Bytes that one branch's histories of `depth` features hold, in `dtype` if given."""
        return depth * sum(stored_bytes(features, dtype) for features in self.sites.values())


def stored_bytes(features: Iterable[Tensor], dtype: torch.dtype | None = None) -> int:
    """Bytes of `features`, stored in `dtype` if given."""
    return sum(feature.numel() * (dtype or feature.dtype).itemsize for feature in features)


def dry_run(
    model: nn.Module,
    adapter: Adapter,
    granularity: Granularity,
    arguments: Mapping[str, Any],
    autocast: Autocast = Autocast(),  # noqa: B008  # immutable
) -> DryRun:
    """Run one computed and one forecast step without data and without arithmetic.

    Args:
        model: any module; its weights are neither read nor copied.
        adapter: record that serves it.
        granularity: granularity of the sites.
        arguments: arguments of a call by name, as `shapes_of` returns them.
        autocast: device of the call and its mixed precision.

    Raises:
        PlanError: what a step comes to depends on data.
    """
    if autocast.dtype is None:
        # The meta device takes a fifth of the time, where a model asks for nothing that it lacks.
        with suppress(Exception):
            return _with_every_answer(model, adapter, granularity, arguments, None)
    return _with_every_answer(model, adapter, granularity, arguments, autocast)


def _with_every_answer(
    model: nn.Module,
    adapter: Adapter,
    granularity: Granularity,
    arguments: Mapping[str, Any],
    autocast: Autocast | None,
) -> DryRun:
    """A dry run; where a condition depends on data, all answers must come to the same.

    An answer that the model refuses is not the one of a call that went well.
    """
    found: list[DryRun] = []
    refusals: list[Exception] = []
    waiting: list[tuple[bool, ...]] = [()]
    while waiting:
        answers = waiting.pop()
        stage = _Stage(model, adapter, granularity, autocast, answers)
        try:
            tokens = tokens_in(granularity)
            ages = (0, 1, 2) if tokens and tokens.alternate else (0, 1)
            flops = [stage.flops(arguments, age) for age in ages]
            found.append(DryRun(stage.recorder.sites, *flops))
        except (ValueError, AssertionError) as error:
            refusals.append(error)
        answered = stage.without_data.answered
        waiting += [(*answered[:i], False) for i in range(len(answers), len(answered))]
        if len(found) + len(refusals) + len(waiting) > MOST_ANSWERS:
            raise PlanError("the model reads data in more conditions than can be tried")
    if not found:
        raise refusals[0]
    if any(_sizes(each) != _sizes(found[0]) for each in found):
        raise PlanError("what a step comes to depends on a condition that reads data")
    return found[0]


def _sizes(each: DryRun) -> object:
    shapes = {
        path: [(feature.shape, feature.dtype) for feature in features]
        for path, features in each.sites.items()
    }
    return shapes, each.flops_computed, each.flops_forecast, each.flops_resting


def kept_features(
    model: nn.Module, adapter: Adapter, granularity: Granularity, arguments: Mapping[str, Any]
) -> dict[str, tuple[Tensor, ...]]:
    """Meta tensors by path, one for each feature that a computed step keeps.

    Args:
        model: any module; its weights are neither read nor copied.
        adapter: record that serves it.
        granularity: granularity of the sites.
        arguments: arguments of a call by name, as `shapes_of` returns them.
    """
    stage = _Stage(model, adapter, granularity, None)
    stage.step(arguments)
    return stage.recorder.sites


class _Stage:
    """A tapped copy of a model without data."""

    def __init__(
        self,
        model: nn.Module,
        adapter: Adapter,
        granularity: Granularity,
        autocast: Autocast | None,
        answers: Sequence[bool] = (),
    ) -> None:
        self.recorder = _ShapeRecorder()
        self.without_data = WithoutData(autocast, answers)
        self._twin = twin_of(model, adapter, self.without_data)
        self._taps = Taps.at(self._twin, adapter, granularity)

    def step(self, arguments: Mapping[str, Any], age: int = 0) -> None:
        self.recorder.age = age
        given = self.without_data.given(arguments)
        with self.without_data.at_work():
            self._taps.call(self._twin, self.recorder, self._twin.forward, (), given)

    def flops(self, arguments: Mapping[str, Any], age: int) -> int:
        # Imported here: it brings triton, for which commands that plan nothing need not wait.
        from torch.utils.flop_counter import FlopCounterMode

        with FlopCounterMode(display=False) as counter:
            self.step(arguments, age)
        return int(counter.get_total_flops())


class _ShapeRecorder:
    def __init__(self) -> None:
        self.age = 0
        self.features: dict[str, Any] = {}

    @property
    def computing(self) -> bool:
        return self.age == 0

    def observe(self, path: str, feature: Any) -> None:
        self.features[path] = feature

    def forecast(self, path: str) -> Any:
        return self.features[path]

    @property
    def sites(self) -> dict[str, tuple[Tensor, ...]]:
        return {
            path: tuple(_on_meta(leaf) for leaf in pytree.tree_leaves(feature) if is_feature(leaf))
            for path, feature in self.features.items()
        }


def _on_meta(tensor: Tensor) -> Tensor:
    return torch.empty(tensor.shape, dtype=tensor.dtype, device="meta")
