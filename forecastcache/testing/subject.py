"""Subject: a model on trial, and how it is called."""

from __future__ import annotations

import inspect
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils import _pytree as pytree

from forecastcache._util.nests import tensors_in
from forecastcache.adapter import Adapter, Site
from forecastcache.engine.attach import attach
from forecastcache.engine.call import sample_in
from forecastcache.engine.session import Session
from forecastcache.errors import ConformanceError
from forecastcache.granularity import Granularity
from forecastcache.history import is_feature
from forecastcache.predictors.taylor import Taylor
from forecastcache.schedule import Every

TIMES = tuple(float(time) for time in range(1000, 100, -150))
HARDLY_LATER = TIMES[0] - 2.0**-4  # in bfloat16 the sample is the same, so is its embedding
CLOSE = 0.1  # of the output; what is replaced wrongly is off by all of it
SCHEDULE = Every(3, first=2)  # of six steps 0, 1 and 4


@dataclass(frozen=True)
class Subject:
    """A model and how it is called.

    Attributes:
        module: model on trial.
        adapter: record that serves it.
        arguments: arguments of a call.
        other: arguments that the other branch has instead.
        times_in: dtype in which the model is told the time.
    """

    module: nn.Module
    adapter: Adapter
    arguments: Mapping[str, Any]
    other: Mapping[str, Any] | None
    times_in: torch.dtype = torch.float32

    def __str__(self) -> str:
        return f"{type(self.module).__name__}, adapter {self.adapter.name!r}"

    @property
    def branches(self) -> tuple[Mapping[str, Any], ...]:
        return ({},) if self.other is None else ({}, self.other)

    @property
    def hardly_later(self) -> float:
        """The time of a step that hardly differs from the first one, but differs."""
        coarsest = 1 - torch.finfo(self.times_in).eps / 2
        return min(HARDLY_LATER, TIMES[0] * coarsest)

    def call(self, time: float, branch: Mapping[str, Any], **options: Any) -> Any:
        """What the model returns at `time`; its sample moves with time."""
        given = {**self.arguments, **branch}
        name = self._sample
        given[name] = _scaled(given[name], 1 + time / 1000)
        first, *others = self.adapter.time_arguments(self.module)
        given.setdefault(first, torch.full((len(given[name]),), TIMES[0], dtype=self.times_in))
        for each in (first, *others):
            if each in given:
                given[each] = (given[each].double() * (time / TIMES[0])).to(given[each].dtype)
        takes = inspect.signature(self.module.forward).parameters
        known = {option: value for option, value in options.items() if option in takes}
        return self.module(**given, **known)

    @property
    def _sample(self) -> str:
        """The argument that moves with time: the sample, as a session finds it."""
        times = self.adapter.time_arguments(self.module)
        given = {name: it for name, it in self.arguments.items() if name not in times}
        bare = {name: it for name, it in given.items() if isinstance(it, Tensor)}
        others = {name: tensors_in(it) for name, it in given.items() if name not in bare}
        nests = {name: tensors for name, tensors in others.items() if tensors}
        return sample_in(bare, nests, self.adapter.sample)

    def sites(self, site: Granularity) -> tuple[Site, ...]:
        """The places of a granularity in the model."""
        return self.adapter.sites(self.module, site)

    def require_callable(self) -> None:
        """Go on if plain calls of each branch work."""
        for branch in self.branches:
            try:
                self.call(TIMES[0], branch)
            except Exception as error:
                raise ConformanceError(
                    f"{self}: the plain model cannot be called with these arguments "
                    f"({type(error).__name__}: {error}): give those of one call, by name, with "
                    "tensors, without the time"
                ) from error

    def run(self, *branches: Mapping[str, Any]) -> list[Tensor]:
        """The output tensors of a trajectory, branch after branch at each step."""
        return [tensor for output in self.outputs(*branches) for tensor in output]

    def outputs(self, *branches: Mapping[str, Any]) -> list[list[Tensor]]:
        """The output tensors of each call of a trajectory, branch after branch at each step."""
        return [
            tensors_in(self.call(time, branch, return_dict=False))
            for time in TIMES
            for branch in branches
        ]

    def attach(self, site: Granularity, schedule: Every = SCHEDULE) -> Session:
        return attach(self.module, schedule, Taylor(order=1), site=site)


def _scaled(value: Any, factor: float) -> Any:
    """Every tensor of real numbers in an argument, times a number."""
    return pytree.tree_map(lambda leaf: leaf * factor if is_feature(leaf) else leaf, value)
