"""Ledger: what the histories of a trajectory cost, planned from shapes and measured."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

import torch
from torch import nn

from forecastcache.accountant import Rehearsal, measured_bytes, rehearse, shapes_in, shapes_of
from forecastcache.adapter import Adapter, Granularity
from forecastcache.branch import Branch
from forecastcache.budget import require_budget
from forecastcache.errors import BudgetError


class Ledger:
    """Keeps the books of one trajectory.

    Calls of one kind have arguments of the same shapes, and are rehearsed once. Guidance whose
    halves have prompts of different lengths has two kinds, and so has a run whose batch is halved
    on the way.

    Args:
        adapter: that serves the model.
        depth: features kept a site.
        dtype: that they are stored in; None for their own.

    Attributes:
        cache_bytes: the most that the histories held at a time.
    """

    def __init__(self, adapter: Adapter, depth: int, dtype: torch.dtype | None) -> None:
        self._adapter = adapter
        self._depth = depth
        self._dtype = dtype
        self._rehearsals: dict[object, Rehearsal] = {}
        self.open()

    def open(self) -> None:
        """Begin the books of a trajectory."""
        self.cache_bytes = 0
        self._kinds: list[dict[str, Any]] = []
        self._held: list[list[int]] = []  # the kinds of the branches there were at a time

    def kind_of(self, given: dict[str, Any]) -> int:
        """The number of the kind that a call with these arguments is of."""
        if self._adapter.trim is not None:
            given = {**given, **self._adapter.trim(given)}
        shapes = shapes_of(given)
        alike = (i for i, kind in enumerate(self._kinds) if shapes_in(kind) == shapes_in(shapes))
        number = next(alike, len(self._kinds))
        if number == len(self._kinds):
            self._kinds.append(shapes)
        return number

    def enter(self, branches: Iterable[Branch]) -> None:
        """Note which branches there are from now on."""
        self._held.append([branch.kind for branch in branches])

    def measure(self, branches: Iterable[Branch]) -> None:
        """Note what the branches hold."""
        held = measured_bytes(history for each in branches for history in each.histories())
        self.cache_bytes = max(self.cache_bytes, held)

    def rehearse(self, model: nn.Module | None, site: Granularity) -> list[Rehearsal] | None:
        """A rehearsal of each kind; None where the model reads data on its way, or is gone."""
        if model is None or not self._kinds:
            return None
        try:
            return self._rehearse(model, site)
        except Exception:
            # The run itself was well.
            return None

    def planned_bytes(self, rehearsals: Sequence[Rehearsal] | None) -> int | None:
        """The most that the histories were to hold at a time."""
        if rehearsals is None:
            return None
        costs = [each.planned_bytes(self._depth, self._dtype) for each in rehearsals]
        return max(sum(costs[kind] for kind in kinds) for kinds in self._held)

    def require_budget(self, budget: int, model: nn.Module, site: Granularity) -> None:
        """Go on if the branches that there are fit into the budget.

        Raises:
            BudgetError: they do not, or nobody can tell.
        """
        try:
            self._rehearse(model, site)
        except Exception as error:
            raise BudgetError(
                f"the cache of {type(model).__name__} cannot be planned, since the model reads "
                f"data on its way ({type(error).__name__}): leave out budget="
            ) from error
        require_budget(
            budget,
            lambda site: [self._rehearse(model, site)[kind] for kind in self._held[-1]],
            self._adapter.granularities,
            site,
            self._depth,
            self._dtype,
        )

    def _rehearse(self, model: nn.Module, site: Granularity) -> list[Rehearsal]:
        rehearsals = []
        for kind in self._kinds:
            key = site, tuple(shapes_in(kind))
            if key not in self._rehearsals:
                self._rehearsals[key] = rehearse(model, self._adapter, site, kind)
            rehearsals.append(self._rehearsals[key])
        return rehearsals
