"""Manner: how an accelerated pipeline learns, and what forecasts until it has."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

from forecastcache.config import GUARD, Config
from forecastcache.errors import OptionError
from forecastcache.predictor import Predictor
from forecastcache.predictors.variable_order import VariableOrder
from forecastcache.schedule import Schedule

OnUnknown = Literal["record", "formula", "raise"]
BECOMES: dict[OnUnknown, str] = {
    "record": "is learned too",
    "formula": "is forecast by a formula",
    "raise": "is refused",
}


@dataclass(frozen=True)
class Manner:
    """How an accelerated pipeline learns; see `accelerate`.

    Attributes:
        pictures: number of samples to learn from.
        fit_cost: plain runs of them that a fit may take.
        eager: whether a formula forecasts before anything was learned.
        on_unknown: what becomes of calls of which nothing is known.
        elements: number of elements of each sample to look at.
        guard: bound of the drift; None for no warning.
        progress: whether a fit shows how far it has come.
        formula: predictor where nothing was learned.
        storage: options of `attach` that say how features are kept.
    """

    pictures: int
    fit_cost: float
    eager: bool
    on_unknown: OnUnknown
    elements: int
    guard: float | None
    progress: bool
    formula: Predictor = field(default_factory=VariableOrder)
    storage: Mapping[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        """Refuse options that are out of range.

        Raises:
            OptionError: naming the first.
        """
        if self.on_unknown not in BECOMES:
            raise OptionError(
                f"on_unknown={self.on_unknown!r} is not known: write one of {', '.join(BECOMES)}"
            )
        for name in ("pictures", "elements"):
            value = getattr(self, name)
            if type(value) is not int or value < 1:
                raise OptionError(
                    f"{name}={value!r} is no whole number of at least 1: ask for 1 or more"
                )
        for name in ("fit_cost", "guard"):
            value = getattr(self, name)
            fits = isinstance(value, (int, float)) and 0 < value < math.inf
            if not (fits or (name == "guard" and value is None)):
                raise OptionError(f"{name}={value!r} is no number above 0: give such as {name}=4")


def require_usable(config: Config, asked: list[str], guard: float | None) -> None:
    """Refuse a set-up that rows cannot be learned for, and options that contradict it.

    Args:
        config: set-up that is to be accelerated.
        asked: options that say how many steps are computed.
        guard: guard that is given beside it.

    Raises:
        OptionError: naming what to leave out.
    """
    if config.site != "output":
        raise OptionError(
            f"the Config has site={config.site!r}, and what is learned are rows of the output: "
            "leave out site, or attach the Config"
        )
    schedule = config.schedule
    if schedule is not None and asked:
        raise OptionError(
            f"the Config says which steps are computed ({schedule}), as {asked[0]} would: leave "
            f"out {asked[0]}, or its schedule"
        )
    if schedule is not None and type(schedule).computed is Schedule.computed:
        raise OptionError(
            f"rows are learned for steps that are known beforehand, and {schedule} decides as it "
            "runs: leave it out of the Config, or attach the Config"
        )
    if guard not in (GUARD, config.guard) and "guard" in config.model_fields_set:
        raise OptionError(
            f"the Config has guard={config.guard}, and guard={guard} is given beside it: leave "
            "one out"
        )
