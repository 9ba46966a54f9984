"""Subject: a model on trial, and how it is called."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils import _pytree as pytree

from forecastcache._util.nests import tensors_in
from forecastcache.adapter import Adapter, Granularity
from forecastcache.engine.attach import attach
from forecastcache.engine.session import Session
from forecastcache.errors import ConformanceError
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
    """

    module: nn.Module
    adapter: Adapter
    arguments: Mapping[str, Any]
    other: Mapping[str, Any] | None

    def __str__(self) -> str:
        return f"{type(self.module).__name__}, adapter {self.adapter.name!r}"

    @property
    def branches(self) -> tuple[Mapping[str, Any], ...]:
        return ({},) if self.other is None else ({}, self.other)

    def call(self, time: float, branch: Mapping[str, Any], **options: Any) -> Any:
        """What the model returns at `time`; its sample moves with time."""
        given = {**self.arguments, **branch}
        sample = next(name for name, value in given.items() if tensors_in(value))
        given[sample] = pytree.tree_map(lambda each: each * (1 + time / 1000), given[sample])
        times = torch.full((len(given[sample]),), time, dtype=self._time_dtype)
        return self.module(**given, **{self.adapter.time_argument(self.module): times}, **options)

    @cached_property
    def _time_dtype(self) -> torch.dtype:
        """Float32, but for models that compute in the dtype in which they are told the time."""
        own = next(x.dtype for x in tensors_in(list(self.arguments.values())) if is_feature(x))
        sample = next(value for value in self.arguments.values() if tensors_in(value))
        times = torch.full((len(sample),), TIMES[0])
        try:
            self.module(**self.arguments, **{self.adapter.time_argument(self.module): times})
        except RuntimeError:
            return own
        return times.dtype

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
