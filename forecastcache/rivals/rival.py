"""Rival entries: what all of them share, whoever wrote the method."""

from __future__ import annotations

import inspect
from abc import ABC, abstractmethod
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import Any, ClassVar

from pydantic import BaseModel, ConfigDict

from forecastcache.entry import Applied
from forecastcache.sampling import Request


class RivalOptions(BaseModel):
    """Options of a rival, read from text; its defaults are those of whoever wrote the method."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    def check(self, total: int) -> None:
        """Refuse trajectories of `total` steps that the options do not fit.

        Raises:
            ValueError: saying why.
        """


@dataclass(frozen=True)
class Rival(ABC):
    """A way of sampling that somebody else made.

    Attributes:
        name: as it was asked for.
        options: of it.
    """

    name: str
    options: RivalOptions
    kind: str = "rival"

    speed: ClassVar[tuple[str, ...]] = ()  # the options by which it is made faster or slower

    @property
    def line(self) -> str:
        """Its name with the options that are no matter of speed."""
        method, _, options = self.name.partition(":")
        kept = [each for each in options.split(",") if each.split("=")[0] not in self.speed]
        return ", ".join(filter(None, [method, *kept]))

    @abstractmethod
    def on(self, pipe: Any, request: Request) -> AbstractContextManager[Applied]:
        """Put it on a pipeline that is to serve `request`; nothing is left after."""


def calls_twice(pipe: Any, request: Request) -> bool | None:
    """Whether guidance calls the model twice a step; None where the pipeline does not say."""
    takes = inspect.signature(pipe.__call__).parameters
    if "true_cfg_scale" not in takes:
        return None
    asked = request.arguments(pipe)
    scale = asked.get("true_cfg_scale", takes["true_cfg_scale"].default)
    negative = asked.get("negative_prompt") is not None or "negative_prompt_embeds" in asked
    return negative and scale > 1
