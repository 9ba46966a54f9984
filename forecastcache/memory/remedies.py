"""Remedies: what makes a cache fit that does not, cheapest first."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from math import prod
from typing import NamedTuple

import torch

from forecastcache.memory.budget import in_mebibytes
from forecastcache.memory.plan import MemoryPlan

SMALL = torch.bfloat16  # dtype that histories and weights may be kept in instead of a larger one


class Remedy(NamedTuple):
    """A change that makes it fit.

    Attributes:
        change: what to change, in words.
        remaining_bytes: bytes of the GPU that are left with it.
    """

    change: str
    remaining_bytes: int


class Room(NamedTuple):
    """Bytes of a GPU that are left for a cache; below 0 where even the rest does not fit.

    Attributes:
        whole: beside the whole pipeline and the activations of a step.
        denoiser: beside the denoiser alone and these.
        small: beside the whole pipeline in `SMALL`, about; None where it is in no larger dtype.
    """

    whole: int
    denoiser: int
    small: int | None


def remedies(cache: MemoryPlan, caches: Sequence[MemoryPlan], room: Room) -> list[Remedy]:
    """What makes a cache fit, cheapest first; empty where nothing does.

    A smaller dtype of the histories costs no time. At another site forecast steps take less time,
    but something else is forecast. Offloading keeps the site, and moves features at every step.
    Where the model does not fit without a cache, only what makes the model smaller helps.

    Args:
        cache: plan that does not fit.
        caches: plans of all sites.
        room: bytes that are left for it.
    """
    if room.whole < 0:
        tried = _of_the_model(cache, room)
    else:
        tried = [*_of_the_cache(cache, caches, room.whole)]
    return [remedy for remedy in tried if remedy.remaining_bytes >= 0]


def _of_the_model(cache: MemoryPlan, room: Room) -> list[Remedy]:
    alone = Remedy(
        "pipe.enable_model_cpu_offload(): the denoiser alone is on the GPU then",
        room.denoiser - cache.total_bytes,
    )
    if room.small is None:
        return [alone]
    small = min(cache.total_bytes, _bytes_in_small(cache))
    return [Remedy(f"{SMALL} for the whole pipeline", room.small - small), alone]


def _of_the_cache(cache: MemoryPlan, caches: Sequence[MemoryPlan], room: int) -> Iterator[Remedy]:
    small = _bytes_in_small(cache)
    if small < cache.total_bytes:
        yield Remedy(f"attach(..., dtype={SMALL})", room - small)
    smaller = [each for each in caches if each.total_bytes < min(room + 1, cache.total_bytes)]
    if smaller:
        nearest = max(smaller, key=lambda each: each.total_bytes)
        yield Remedy(f"site={nearest.site!r}", room - nearest.total_bytes)
    host = in_mebibytes(cache.total_bytes)
    yield Remedy(f"offload='cpu', with {host} of host memory", room)


def _bytes_in_small(cache: MemoryPlan) -> int:
    elements = sum(prod(shape) for site in cache.sites for shape in site.shapes)
    return cache.branches * cache.depth * elements * SMALL.itemsize
