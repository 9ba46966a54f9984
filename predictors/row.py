"""Row: the weights with which one step of a trajectory is forecast."""

from __future__ import annotations

from collections.abc import Iterable
from math import isfinite
from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field, model_validator
from typing_extensions import Self


def in_words(steps: Iterable[int]) -> str:
    """Steps as errors list them."""
    return " ".join(map(str, steps)) or "none"


class Row(BaseModel):
    """The weights with which one step is forecast.

    Attributes:
        target: the step's index.
        computed: indices of the computed steps that the row reads, rising.
        weights: one for each of them.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")
    target: Annotated[int, Field(ge=1)]
    computed: tuple[int, ...]
    weights: tuple[float, ...]

    @model_validator(mode="after")
    def _fits(self) -> Self:
        where = f"the row of step {self.target}"
        if not self.computed or len(self.weights) != len(self.computed):
            raise ValueError(
                f"{where} has {len(self.weights)} weights for {len(self.computed)} computed "
                "steps: give one for each, and one at least"
            )
        if not all(map(isfinite, self.weights)):
            raise ValueError(f"{where} has a weight that is not finite: fit it again")
        order = (-1, *self.computed, self.target)
        if any(b <= a for a, b in zip(order, order[1:])):
            raise ValueError(
                f"{where} reads steps {in_words(self.computed)}: they must rise from 0 on and lie "
                "before it"
            )
        return self
