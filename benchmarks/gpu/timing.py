"""Seconds of work on a device that works by itself."""

from __future__ import annotations

from collections.abc import Callable
from statistics import median
from time import perf_counter
from typing import Any

import torch

FLUSH = 512 * 2**20  # bytes written before each timing: ten times the card's cache


def settle(device: str) -> None:
    """Wait for the device to have done all that it was told."""
    if device == "cuda":
        torch.cuda.synchronize()


def seconds(device: str, work: Callable[[], Any]) -> float:
    """What work takes on the host's clock, with all that it starts on the device."""
    settle(device)
    begun = perf_counter()
    work()
    settle(device)
    return perf_counter() - begun


def median_seconds(device: str, work: Callable[[], Any], times: int) -> float:
    """The median of so many, after a warm-up; on a GPU between events, its cache emptied before.

    Emptying it takes the GPU long enough for the host to have sent the work after it, so the time
    of the host is not in it.
    """
    work()
    if device != "cuda":
        return median(seconds(device, work) for _ in range(times))
    flush = torch.empty(FLUSH, dtype=torch.uint8, device=device)
    taken = []
    for _ in range(times):
        before, after = (torch.cuda.Event(enable_timing=True) for _ in range(2))
        torch.cuda.synchronize()
        flush.zero_()
        before.record()
        work()
        after.record()
        after.synchronize()
        taken.append(before.elapsed_time(after) / 1e3)
    return median(taken)


def forget_peak(device: str) -> None:
    """Begin anew to watch how much memory is held at most."""
    if device == "cuda":
        torch.cuda.reset_peak_memory_stats()


def peak_bytes(device: str) -> int | None:
    """Bytes that torch held at most on the GPU since; None on CPUs."""
    return torch.cuda.max_memory_allocated() if device == "cuda" else None
