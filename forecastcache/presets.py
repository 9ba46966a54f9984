"""Presets: schedules that others published for one model, as data with their source."""

from __future__ import annotations

import json
import warnings
from functools import lru_cache
from pathlib import Path
from typing import Annotated, Any

from pydantic import BaseModel, ConfigDict, Field, WithJsonSchema, model_validator
from torch import nn

from forecastcache.errors import ForecastCacheWarning, ScheduleError
from forecastcache.schedule import Listed, Schedule, State
from forecastcache.step import Step

FILE = Path(__file__).with_name("presets.json")
MODELS = Path(__file__).parent / "memory" / "published"  # class and configuration of each


class Published(BaseModel):
    """One entry of the file.

    Attributes:
        model: model that the schedule was found for.
        by: method that found it.
        steps: number of steps of a trajectory.
        computed: computed steps.
        about: how it was found.
        source: where it was published.
        measured: that nothing of it was measured here.
        setting: size, guidance and dtype that it was found for.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")
    model: str
    by: str
    steps: Annotated[int, Field(gt=0)]
    computed: tuple[int, ...]
    about: str
    source: str
    measured: str
    setting: str

    @property
    def name(self) -> str:
        """The model and the number of computed steps, such as `flux.1-dev:9`."""
        return f"{self.model}:{len(self.computed)}"


@lru_cache(maxsize=1)
def published() -> tuple[Published, ...]:
    """Every entry of the file, the usual one of each name first."""
    return tuple(map(Published.model_validate, json.loads(FILE.read_text("utf-8"))))


def _one_of(names: list[str]) -> Any:
    return WithJsonSchema({"type": "string", "enum": list(dict.fromkeys(names))})


Name = Annotated[str, _one_of([it.name for it in published()])]
Method = Annotated[str, _one_of([it.by for it in published()])]


class Preset(Schedule):
    """The steps that others published for one real model; not measured by us.

    `preset:flux.1-dev:9` computes 9 of 50 steps. Most were found for reuse of the newest feature,
    some for other forecasts, and all at one size, guidance and dtype: `published` tells which.
    Where nothing can be calibrated they are a start. They are refused for other numbers of steps,
    and another model is warned of, once a session.

    Args:
        name: model and number of computed steps.
        by: method that found it; None for the first in the file.

    Reference: each one's `published.source`.
    """

    name: Name
    by: Method | None = None

    @model_validator(mode="after")
    def _known(self) -> Preset:
        names = list(dict.fromkeys(it.name for it in published()))
        if self.name not in names:
            raise ValueError(
                f"no schedule is published as {self.name!r}: write one of {', '.join(names)}"
            )
        methods = [it.by for it in published() if it.name == self.name]
        if self.by is not None and self.by not in methods:
            raise ValueError(
                f"{self.name} is not by {self.by!r}: write by= one of {', '.join(methods)}"
            )
        return self

    @property
    def published(self) -> Published:
        """The entry, with its source."""
        named = (it for it in published() if it.name == self.name)
        return next(it for it in named if self.by in (None, it.by))

    @property
    def warm_up(self) -> int:
        return Listed(self.published.computed).warm_up

    def compute(self, step: Step, state: State) -> bool:
        if step.total is not None:
            self.check(step.total)
        return step.index in self.published.computed

    def computed(self, total: int) -> tuple[int, ...]:
        self.check(total)
        return self.published.computed

    def check(self, total: int) -> None:
        if total != self.published.steps:
            raise ScheduleError(
                f"{self.name} was published for {self.published.steps} steps, but the trajectory "
                f"has {total}: ask for {self.published.steps}, or take Warped"
                f"({len(self.published.computed)})"
            )

    def check_model(self, model: nn.Module) -> None:
        """Warn of another model than it was published for, by class and configuration."""
        file = MODELS / f"{self.published.model}.json"
        other = _difference(model, json.loads(file.read_text("utf-8")))
        if other is not None:
            count = len(self.published.computed)
            warnings.warn(
                f"{self.name} was published for {self.published.model}, and this model has "
                f"{other}: its steps may not suit it; take Warped({count}), or let "
                f"fc.accelerate(pipe, computed={count}) find some",
                ForecastCacheWarning,
                stacklevel=2,
            )


def _difference(model: nn.Module, published: dict[str, Any]) -> str | None:
    """In what a model is another than a published one; None where it is the same.

    Args:
        model: the model.
        published: its class and configuration.
    """
    if type(model).__name__ != published["class"]:
        return f"the class {type(model).__name__}"
    config: Any = getattr(model, "config", {})
    for name, value in published["config"].items():
        found = config.get(name)
        if (list(found) if isinstance(found, tuple) else found) != value:
            return f"{name}={found!r} (there it is {value!r})"
    return None
