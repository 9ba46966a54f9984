"""Schedule search: the computed steps that end nearest to the plain run, in closed loop.

Hill climbing from schedules spread evenly: one computed step is moved, the rows are fitted anew,
and the move is kept if the samples end nearer. Step 0 is always computed. Where a climb begins
matters, most of all how late the last computed step is, so several starts are tried.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np

CLIMBS = 2  # from the best starts
FARTHEST = 4  # steps that one computed step is moved at a time
Objective = Callable[[tuple[int, ...]], float]


@dataclass(frozen=True)
class Found:
    """What a search has found.

    Attributes:
        computed: computed steps.
        error: their error, as the objective gives it.
        tries: number of evaluations of the objective.
    """

    computed: tuple[int, ...]
    error: float
    tries: int


def evenly(count: int, total: int, last: int | None = None) -> tuple[int, ...]:
    """`count` steps spread evenly from 0 to `last`, by default the end of the trajectory."""
    end = total - 1 if last is None else last
    if count == 1:
        return (0,)
    return tuple(round(i * end / (count - 1)) for i in range(count))


def starts(count: int, total: int) -> list[tuple[int, ...]]:
    """Schedules to begin with: spread evenly, the last step nearer to or farther from the end."""
    gap = max(1, total // count)
    lasts = [total - 1, total - 2, total - 3, total - 1 - gap // 2, total - gap]
    spread = [evenly(count, total, max(last, count - 1)) for last in lasts]
    return list(dict.fromkeys(spread))


def search(objective: Objective, count: int, total: int, tries: int, seed: int = 0) -> Found:
    """The best schedule of `count` computed steps that `tries` evaluations find.

    Args:
        objective: function that gives the error of a schedule.
        count: number of computed steps.
        total: number of steps of a trajectory.
        tries: most evaluations of the objective.
        seed: seed of the order in which moves are tried.
    """
    errors: dict[tuple[int, ...], float] = {}

    def remembered(steps: tuple[int, ...]) -> float:
        if steps not in errors:
            errors[steps] = objective(steps)
        return errors[steps]

    best = sorted(starts(count, total)[:tries], key=remembered)[:CLIMBS]
    each = (tries - len(errors)) // len(best)
    found = [climb(remembered, start, total, each + 1, seed + i) for i, start in enumerate(best)]
    nearest = min(found, key=lambda it: it.error)
    return Found(nearest.computed, nearest.error, len(errors))


def climb(
    objective: Objective, start: tuple[int, ...], total: int, tries: int, seed: int = 0
) -> Found:
    """Move one computed step at a time while it helps.

    Args:
        objective: function that gives the error of a schedule.
        start: schedule to begin with.
        total: number of steps of a trajectory.
        tries: most evaluations of the objective.
        seed: seed of the order in which moves are tried.
    """
    random = np.random.default_rng(seed)
    best, error, spent = start, objective(start), 1
    seen = {start}
    while spent < tries:
        moves = [move for move in _moves(best, total) if move not in seen]
        if not moves:
            break
        candidate = moves[int(random.integers(len(moves)))]
        seen.add(candidate)
        offered = objective(candidate)
        spent += 1
        if offered < error:
            best, error = candidate, offered
    return Found(best, error, spent)


def _moves(computed: tuple[int, ...], total: int) -> Iterator[tuple[int, ...]]:
    for place in range(1, len(computed)):
        for by in (d for d in range(-FARTHEST, FARTHEST + 1) if d):
            step = computed[place] + by
            below = computed[place - 1]
            above = computed[place + 1] if place + 1 < len(computed) else total
            if below < step < above:
                yield (*computed[:place], step, *computed[place + 1 :])
