"""Floating-point operations of a call, step by step."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from statistics import median
from typing import Any

from torch.utils.flop_counter import FlopCounterMode

from forecastcache.standing_in import standing_in

MOST = 0.5  # of a plain step's operations, from which on the network counts as having run


@dataclass(frozen=True)
class Flops:
    """What torch's counter counts: matrix products, convolutions and attention.

    Attributes:
        total: of one whole call.
        by_step: of the network's part in each of the sampler's steps.
    """

    total: int
    by_step: tuple[int, ...]

    def computed(self, plain: Flops) -> int:
        """Steps in which the network ran, or most of it."""
        return sum(each >= MOST * median(plain.by_step) for each in self.by_step)


def counted(pipe: Any, call: Callable[[], object]) -> Flops:
    """Of one call of the pipeline."""
    step = pipe.scheduler.step
    so_far: list[int] = []

    def marking(*args: Any, **kwargs: Any) -> Any:
        so_far.append(int(counter.get_total_flops()))
        return step(*args, **kwargs)

    with standing_in(pipe.scheduler, "step", marking), FlopCounterMode(display=False) as counter:
        call()
    return Flops(int(counter.get_total_flops()), _differences(so_far))


def _differences(so_far: Sequence[int]) -> tuple[int, ...]:
    # What encodes the prompt runs before the first step, so of that no more is known than this.
    later = tuple(b - a for a, b in zip(so_far, so_far[1:]))
    return (min(so_far[0], max(later, default=so_far[0])), *later)
