"""Schedule search: the computed steps that end nearest to the plain run.

A coarse grid over the family of `Warped`, a refinement around the best of it, then single steps
moved around the winner. Whoever searches gives what is known of counts nearby: schedules to look
at first, and the warps in the order in which they served there.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from itertools import product, starmap
from typing import NamedTuple

import numpy as np

from forecastcache.errors import CalibrationError
from forecastcache.schedule import Warped, apart

Steps = tuple[int, ...]
Objective = Callable[[Steps], float]
FARTHEST = 2  # steps that one computed step is moved at a time
COARSE = 0.6  # share of the tries that the first looks take, at most
FINER = 0.85  # share after which single steps are moved
SCALE = 50  # steps that `last` is counted in
FEW = 25  # steps of a trajectory, below which the family's defaults are looked at first
EXPONENTS = (1.15, 1.06)  # factors by which the refinement moves a and b


class Warp(NamedTuple):
    """A member of the family: options of `Warped` but the count.

    Attributes:
        a: exponent of the beginning.
        b: exponent of the end.
        last: number of steps of 50 after the last computed one; of fewer, a like share.
    """

    a: float
    b: float
    last: int

    def steps(self, count: int, total: int) -> Steps:
        """Its `count` computed steps of `total`; the last one as late as so many allow."""
        last = min(round(self.last * total / SCALE), total - count)
        return Warped(count, a=self.a, b=self.b, last=last).computed(total)


# Each of these lies nearest to what searches found on four trained models, the earlier ones left
# out: where few tries are to be had, they go there.
LIKELY = (
    Warp(1.1, 1.7, 1), Warp(0.75, 1.7, 1), Warp(1.1, 1.3, 1), Warp(1.35, 1.3, 0),
    Warp(1.1, 1.7, 0), Warp(0.75, 1.7, 0), Warp(0.9, 1.7, 0), Warp(1.35, 1.7, 0),
)  # fmt: skip
CORNERS = (0.75, 0.9, 1.1, 1.35), (0.8, 1.0, 1.3, 1.7)
GRID = tuple(dict.fromkeys([*LIKELY, *starmap(Warp, product(*CORNERS, (0, 1)))]))


class SpentError(CalibrationError):
    """All tries are spent, or what they may compute is."""


@dataclass(frozen=True)
class Found:
    """What a search has found.

    Attributes:
        computed: computed steps.
        errors: error of each schedule that was looked at.
    """

    computed: Steps
    errors: Mapping[Steps, float]

    @property
    def error(self) -> float:
        """Error of the computed steps."""
        return self.errors[self.computed]

    @property
    def tries(self) -> int:
        """Number of schedules that were looked at."""
        return len(self.errors)


def search(
    objective: Objective,
    count: int,
    total: int,
    tries: int,
    seeds: Sequence[Steps] = (),
    warps: Sequence[Warp] = GRID,
) -> Found:
    """The best schedule of `count` computed steps that `tries` evaluations find.

    Args:
        objective: function that gives the error of a schedule.
        count: number of computed steps.
        total: number of steps of a trajectory.
        tries: most evaluations of the objective.
        seeds: schedules to look at first.
        warps: warps to look at then, the most promising first.
    """
    errors: dict[Steps, float] = {}
    if total < FEW:
        seeds = [*seeds, Warped(count).computed(total)]

    def error(steps: Steps) -> float:
        if steps not in errors:
            if len(errors) >= tries:
                raise SpentError
            errors[steps] = objective(steps)
        return errors[steps]

    with suppress(SpentError):
        for steps in dict.fromkeys(seeds):
            error(steps)
        best = _coarse(error, errors, count, total, COARSE * tries, warps)
        _refine(error, errors, best, count, total, FINER * tries)
        climb(error, min(errors, key=lambda it: errors[it]), total)
    return Found(min(errors, key=lambda it: (errors[it], it)), errors)


def ranked(errors: Mapping[Steps, float], count: int, total: int) -> list[Warp]:
    """The warps of the grid, first those that were best of `count` computed steps."""
    return sorted(GRID, key=lambda warp: errors.get(warp.steps(count, total), np.inf))


def climb(
    objective: Objective, start: Steps, total: int, tries: int | None = None, seed: int = 0
) -> Steps:
    """Move one computed step at a time while it helps.

    Args:
        objective: function that gives the error of a schedule.
        start: schedule to begin with.
        total: number of steps of a trajectory.
        tries: most evaluations of the objective; None for as many as help.
        seed: seed of the order in which moves are tried.
    """
    random = np.random.default_rng(seed)
    best, error, seen = start, objective(start), {start}
    while tries is None or len(seen) < tries:
        moves = [move for move in _moves(best, total) if move not in seen]
        if not moves:
            break
        candidate = moves[int(random.integers(len(moves)))]
        seen.add(candidate)
        offered = objective(candidate)
        if offered < error:
            best, error = candidate, offered
    return best


def resampled(computed: Steps, count: int, total: int) -> Steps:
    """`count` steps spread as `computed` are."""
    if count == 1 or len(computed) == 1:
        return Warped(count).computed(total)
    places = np.linspace(0, len(computed) - 1, count)
    steps = np.interp(places, np.arange(len(computed)), computed)
    return apart([round(step) for step in steps.tolist()], total)


def with_one_more(computed: Steps, total: int) -> Iterator[Steps]:
    """`computed` and one step more: in the widest gap, and in that before the last step."""
    ends = (*computed[1:], total)
    gaps = [(end - begin, begin) for begin, end in zip(computed, ends) if end - begin > 1]
    for wide, begin in dict.fromkeys([max(gaps), gaps[-1], gaps[max(len(gaps) - 2, 0)]]):
        yield tuple(sorted({*computed, begin + wide // 2}))


def _coarse(
    error: Objective,
    errors: Mapping[Steps, float],
    count: int,
    total: int,
    until: float,
    warps: Sequence[Warp],
) -> Warp:
    found: dict[Warp, float] = {}
    for warp in warps:
        if found and len(errors) >= until:
            break
        found[warp] = error(warp.steps(count, total))
    return min(found, key=lambda it: found[it])


def _refine(
    error: Objective,
    errors: Mapping[Steps, float],
    best: Warp,
    count: int,
    total: int,
    until: float,
) -> None:
    """Look around the best warp, nearer once nothing is better."""
    for factor in EXPONENTS:
        moved = True
        while moved and len(errors) < until:
            a, b, last = best
            around = [
                Warp(a * factor, b, last), Warp(a / factor, b, last),
                Warp(a, b * factor, last), Warp(a, b / factor, last),
                Warp(a, b, last + 1), Warp(a, b, max(last - 1, 0)),
            ]  # fmt: skip
            least = error(best.steps(count, total))
            nearest = min(around, key=lambda it: error(it.steps(count, total)))
            moved = error(nearest.steps(count, total)) < least
            best = nearest if moved else best


def _moves(computed: Steps, total: int) -> Iterator[Steps]:
    for place in range(1, len(computed)):
        for by in (d for d in range(-FARTHEST, FARTHEST + 1) if d):
            step = computed[place] + by
            below = computed[place - 1]
            above = computed[place + 1] if place + 1 < len(computed) else total
            if below < step < above:
                yield (*computed[:place], step, *computed[place + 1 :])
