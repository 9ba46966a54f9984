"""Floating-point operations of a call, step by step."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from statistics import median
from typing import Any

from torch.utils.flop_counter import FlopCounterMode

from forecastcache._util.swap import swapped
from forecastcache.errors import RequestError

MOST = 0.5  # of a plain step's operations, from which on the network counts as having run


@dataclass(frozen=True)
class Flops:
    """What torch's counter counts: matrix products, convolutions and attention.

    Attributes:
        total: operations of one whole call.
        by_step: operations of each of the sampler's steps; the first includes what encodes the
            prompt.
    """

    total: int
    by_step: tuple[int, ...]

    def computed(self, plain: Flops) -> tuple[int, ...]:
        """Steps in which the network ran, or most of it."""
        least = MOST * median(plain.by_step)
        return tuple(step for step, each in enumerate(self.by_step) if each >= least)


def counted(pipe: Any, call: Callable[[], object]) -> Flops:
    """The operations of one call of the pipeline.

    Raises:
        RequestError: the pipeline never calls its scheduler.
    """
    step = pipe.scheduler.step
    so_far: list[int] = []

    def marking(*args: Any, **kwargs: Any) -> Any:
        so_far.append(int(counter.get_total_flops()))
        return step(*args, **kwargs)

    with swapped(pipe.scheduler, "step", marking), FlopCounterMode(display=False) as counter:
        call()
    if not so_far:
        raise RequestError(
            f"{type(pipe).__name__} never calls its scheduler's step: there is nothing to measure"
        )
    by_step = [b - a for a, b in zip([0, *so_far], so_far)]
    return Flops(int(counter.get_total_flops()), tuple(by_step))
