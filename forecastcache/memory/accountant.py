"""Accountant: what the histories of a trajectory cost, planned from shapes and measured."""

from __future__ import annotations

import traceback
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Protocol

import torch
from torch import nn

from forecastcache._util.nests import tensors_in
from forecastcache.adapter import Adapter
from forecastcache.errors import BudgetError
from forecastcache.granularity import Granularity
from forecastcache.history import Beside, History
from forecastcache.memory.autocast import Autocast, autocast_at
from forecastcache.memory.budget import require_budget
from forecastcache.memory.dry_run import DryRun, dry_run, measured_bytes
from forecastcache.memory.known_values import is_kept
from forecastcache.memory.shapes import shapes_in, shapes_of, values_in

# What stands between torch and a model without data.
OURS = ("known_values.py", "without_data.py")


class Holder(Protocol):
    """A branch, as far as its memory goes.

    Attributes:
        shapes: number of the dry run that has the shapes of its calls.
        beside: what it shows beside its features.
    """

    shapes: int
    beside: Mapping[str, Beside]

    def histories(self) -> Iterator[History]:
        """Every history of a feature."""


class Accountant:
    """Keeps account of one trajectory.

    Calls whose arguments have the same shapes and masks share one dry run. Guidance whose halves
    have prompts of different lengths takes two, and so does a run whose batch is halved on the
    way.

    Args:
        adapter: record that serves the model.
        depth: number of features kept a site.
        dtype: dtype that they are stored in; None for their own.

    Attributes:
        cache_bytes: most bytes that the histories held at a time.
        shown_bytes: most bytes of what was shown beside features, which is not planned.
    """

    def __init__(self, adapter: Adapter, depth: int, dtype: torch.dtype | None) -> None:
        self._adapter = adapter
        self._depth = depth
        self._dtype = dtype
        self._known: dict[object, DryRun] = {}
        self.open()

    def open(self) -> None:
        """Begin the account of a trajectory."""
        self.cache_bytes = self.shown_bytes = 0
        self._shapes: list[tuple[dict[str, Any], Autocast]] = []
        self._held: list[list[int]] = []  # shapes of the branches that there were at a time

    def shapes_of_call(self, given: dict[str, Any]) -> int:
        """The number of the dry run that a call with these arguments shares."""
        if self._adapter.trim is not None:
            given = {**given, **self._adapter.trim(given)}
        shapes, autocast = shapes_of(given), autocast_at(given)
        key = shapes_in(shapes), autocast
        alike = (i for i, (it, cast) in enumerate(self._shapes) if (shapes_in(it), cast) == key)
        # Masks of one shape may leave texts of two lengths. To compare them here would wait for
        # the device: dry runs of the same values are found to be the same when they are made.
        masked = any(is_kept(tensor) for tensor in tensors_in(self._without_time(given)))
        number = len(self._shapes) if masked else next(alike, len(self._shapes))
        if number == len(self._shapes):
            self._shapes.append((shapes, autocast))
        return number

    def _without_time(self, given: dict[str, Any]) -> dict[str, Any]:
        """The arguments of a call but for the time, on whose value no shape depends."""
        return {name: value for name, value in given.items() if name not in self._adapter.time}

    def enter(self, branches: Iterable[Holder]) -> None:
        """Note which branches there are from now on."""
        self._held.append([branch.shapes for branch in branches])

    def measure(self, branches: Iterable[Holder]) -> None:
        """Note what the branches hold."""
        held, shown = list[History](), list[History]()
        for each in branches:
            held += each.histories()
            shown += [it.past for it in each.beside.values()]
        self.cache_bytes = max(self.cache_bytes, measured_bytes(held))
        self.shown_bytes = max(self.shown_bytes, measured_bytes(shown))

    def dry_runs(
        self, model: nn.Module | None, site: Granularity
    ) -> tuple[list[DryRun] | None, str | None]:
        """A dry run for each set of shapes, or None and the reason why there is none."""
        if not self._shapes:
            return None, "no step was taken yet"
        if model is None:
            return None, "the model is gone"
        try:
            return self._dry_runs(model, site), None
        except Exception as error:  # the run itself was well
            return None, reason(error)

    def planned_bytes(self, dry_runs: Sequence[DryRun] | None) -> int | None:
        """Most bytes that the histories were to hold at a time."""
        if dry_runs is None:
            return None
        costs = [each.planned_bytes(self._depth, self._dtype) for each in dry_runs]
        return max(sum(costs[shapes] for shapes in held) for held in self._held)

    def require_budget(self, budget: int, model: nn.Module, site: Granularity) -> None:
        """Go on if the branches that there are fit into the budget.

        Raises:
            BudgetError: they do not, or the dry run failed.
        """
        try:
            self._dry_runs(model, site)
        except Exception as error:
            raise BudgetError(
                f"the cache of {type(model).__name__} cannot be planned: {reason(error)}; leave "
                "out budget="
            ) from error
        require_budget(
            budget,
            lambda site: [self._dry_runs(model, site)[shapes] for shapes in self._held[-1]],
            self._adapter.granularities,
            site,
            self._depth,
            self._dtype,
        )

    def _dry_runs(self, model: nn.Module, site: Granularity) -> list[DryRun]:
        found = []
        for shapes, autocast in self._shapes:
            values = values_in(self._without_time(shapes))
            key = site, shapes_in(shapes), values, autocast
            if key not in self._known:
                self._known[key] = dry_run(model, self._adapter, site, shapes, autocast)
            found.append(self._known[key])
        return found


def reason(error: Exception) -> str:
    """Why a dry run failed, in one line: the error, and the line of code that it came from."""
    first_line = (str(error).strip().splitlines() or [""])[0]
    frames = traceback.extract_tb(error.__traceback__)
    # Neither torch nor what stands between it and the model is to blame.
    ours = [
        it for it in frames if "/torch/" not in it.filename and not it.filename.endswith(OURS)
    ] or frames
    place = f" at {Path(ours[-1].filename).name}:{ours[-1].lineno}" if ours else ""
    said = f"the dry run without data failed with {type(error).__name__}: {first_line}{place}"
    reads = any(word in first_line for word in ("meta tensor", "data-dependent", "_local_scalar"))
    return f"{said} (the model reads data on its way)" if reads else said
