"""Dry run: one computed and one forecast step of a model without data, for shapes and FLOPs."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils import _pytree as pytree

from forecastcache.adapter import Adapter
from forecastcache.engine.taps import Taps
from forecastcache.errors import PlanError
from forecastcache.granularity import Granularity, span_in, tokens_in
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
        flops_later: operations of a forecast step after the `switch`, where other blocks are
            forecast then; None where they are the same.
        switch: share of the steps after which they are.
        flops_scoring: operations of a computed step, among its own, that score tokens and that a
            plain step does not take.
    """

    sites: Mapping[str, tuple[Tensor, ...]]
    flops_computed: int
    flops_forecast: int
    flops_resting: int | None = None
    flops_later: int | None = None
    switch: float = 1.0
    flops_scoring: int = 0

    @property
    def flops_plain(self) -> int:
        """Operations of a step of the model by itself."""
        return self.flops_computed - self.flops_scoring

    def flops(self, age: int, share: float | None = None) -> int:
        """Operations of a step.

        Args:
            age: number of steps since the newest computed one, 0 for that one.
            share: share of the run's steps that lie before it; None where nobody knows.
        """
        if age == 0:
            return self.flops_computed
        if self.flops_later is not None and share is not None and share >= self.switch:
            return self.flops_later
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
            found.append(_of_each_kind_of_step(stage, granularity, arguments))
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


def _of_each_kind_of_step(
    stage: _Stage, granularity: Granularity, arguments: Mapping[str, Any]
) -> DryRun:
    tokens, span = tokens_in(granularity), span_in(granularity)
    flops = {"flops_computed": stage.flops(arguments), "flops_forecast": stage.flops(arguments, 1)}
    if tokens is not None and tokens.alternate:
        flops["flops_resting"] = stage.flops(arguments, 2)
    if tokens is not None and tokens.by == "attention":
        flops["flops_scoring"] = flops["flops_computed"] - stage.flops_plain(arguments)
    if span is None or span.then is None:
        return DryRun(stage.recorder.sites, **flops)
    later = stage.flops(arguments, 1, span.switch)
    return DryRun(stage.recorder.sites, **flops, flops_later=later, switch=span.switch)


def _sizes(each: DryRun) -> object:
    shapes = {
        path: [(feature.shape, feature.dtype) for feature in features]
        for path, features in each.sites.items()
    }
    flops = each.flops_computed, each.flops_forecast, each.flops_resting, each.flops_later
    return shapes, flops


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

    def step(self, arguments: Mapping[str, Any], age: int = 0, share: float = 0.0) -> None:
        self.recorder.age, self.recorder.share = age, share
        given = self.without_data.given(arguments)
        with self.without_data.at_work():
            self._taps.call(self._twin, self.recorder, self._twin.forward, (), given)

    def flops(self, arguments: Mapping[str, Any], age: int = 0, share: float = 0.0) -> int:
        return _operations_of(lambda: self.step(arguments, age, share))

    def flops_plain(self, arguments: Mapping[str, Any]) -> int:
        given = self.without_data.given(arguments)
        with self.without_data.at_work():
            return _operations_of(lambda: self._twin.forward(**given))


def _operations_of(work: Callable[[], Any]) -> int:
    # Imported here: it brings triton, for which commands that plan nothing need not wait.
    from torch.utils.flop_counter import FlopCounterMode

    with FlopCounterMode(display=False) as counter:
        work()
    return int(counter.get_total_flops())


class _ShapeRecorder:
    def __init__(self) -> None:
        self.age, self.share = 0, 0.0
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
