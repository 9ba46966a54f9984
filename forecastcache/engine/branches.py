"""Branches: which branch of guidance a call belongs to.

A pipeline does not tell which branch it calls the model for. Known of a call are its place in the
step, its conditions (the tensors beside sample and time) and the shape of its sample. They decide,
by the first of these rules that applies. No branch is called twice in a step.

1. A branch whose newest call had these very conditions: the one at the call's place, else the
   first of them.
2. The branch at the call's place, where its conditions have these shapes too, unless they have
   never changed since they were seen twice: then the call is another branch's.
3. Another branch whose conditions have these shapes, and other values at every call.
4. The branch at the call's place, where its conditions have other shapes, and so has the sample
   since the step before: a run that goes on at another size, or with half of its batch.
5. A new branch. Those that were called once, and not in the step before, make room for it, so that
   conditions whose shapes change at every step do not fill the memory.
"""

from __future__ import annotations

import torch
from torch import Tensor

from forecastcache.engine.branch import Branch
from forecastcache.engine.clock import Position
from forecastcache.step import Step


class Branches(dict[int, Branch]):
    """The branches of a trajectory by number, and which of them a call belongs to."""

    def __init__(self) -> None:
        super().__init__()
        self._called: set[int] = set()  # at the step under way
        self._shapes: set[torch.Size] = set()  # of its samples
        self._shapes_before: set[torch.Size] = set()  # of those of the step before

    def find(
        self, position: Position, sample: Tensor, conditions: list[Tensor]
    ) -> tuple[int, bool]:
        """The branch that a call belongs to.

        Args:
            position: step and place of the call.
            sample: the sample, of any shape.
            conditions: tensors that the call brings beside sample and time.

        Returns:
            Its number, and whether its newest call had these very conditions.
        """
        if position.order == 0:
            self._called.clear()
            self._shapes_before, self._shapes = self._shapes, set()
        self._shapes.add(sample.shape)
        number = self._with_values(position.order, conditions)
        carried = number is not None
        if number is None:
            number = self._without_values(position, sample, conditions)
        self._called.add(number)
        return number, carried

    def drop_idle(self, last: Step) -> None:
        """At the last step, drop the branches that were switched off: nothing calls them again."""
        for number in [n for n, each in self.items() if each.newest < last.index - 1]:
            del self[number]

    def _free(self, place: int) -> list[int]:
        """The branches that this step has not called, first the one at the call's place."""
        free = [number for number in self if number not in self._called]
        return sorted(free, key=lambda number: (number != place, number))

    def _with_values(self, place: int, conditions: list[Tensor]) -> int | None:
        """Rule 1."""
        # Nearly every call is of the branch at its place, and a forecast step is to be short.
        at_place = None if place in self._called else self.get(place)
        if at_place is not None and at_place.carries(conditions):
            return place
        fits = (number for number in self._free(place) if self[number].carries(conditions))
        return next(fits, None)

    def _without_values(self, position: Position, sample: Tensor, conditions: list[Tensor]) -> int:
        """Rules 2 to 5."""
        place = position.order
        free = self._free(place)
        for number in free:
            branch = self[number]
            takes = not branch.steady if number == place else branch.changes
            if takes and branch.has_shapes_of(conditions):
                return number
        resized = sample.shape not in self._shapes_before
        if resized and place in free and not self[place].has_shapes_of(conditions):
            return place
        before = position.step.index - 1
        for number in [n for n, each in self.items() if each.calls == 1 and each.newest < before]:
            del self[number]
        taken = self.keys() | self._called
        return position.order if position.order not in taken else max(taken) + 1
