"""How often the host waits for the device in a step, with a session and without."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import torch
from answer import Answer
from asked import DTYPE, Asked
from subjects import flux, sample
from torch import Tensor
from torch.overrides import TorchFunctionMode
from torch.utils._python_dispatch import TorchDispatchMode

import forecastcache as fc
from forecastcache.adapter import GRANULARITIES

NEEDS = ("diffusers",)
WAITED = "called a synchronizing CUDA operation"
# What waits on a GPU: numbers read by the host, and sizes that depend on data.
WAITING = {"_local_scalar_dense", "equal", "nonzero", "masked_select", "_unique2"}
TO_HOST = {Tensor.cpu, Tensor.numpy, Tensor.tolist}


def main(asked: Asked, answer: Answer) -> None:
    subject = flux(asked.tiny, blocks=(2, 2), pixels=512)
    steps = 8 if asked.tiny else 24
    pipe = subject.pipe(asked.device, DTYPE)
    call = subject.call(asked.device, DTYPE)

    def run() -> None:
        sample(pipe, call, steps)

    run()
    plain = waits(asked.device, run)
    for site in GRANULARITIES:
        with answer.trying(site):
            reason = asked.no_time_for(1)
            if reason:
                answer.skip(site, reason)
                continue
            with fc.attach(pipe, fc.Every(3, first=2), fc.Taylor(1), site=site):
                run()
                attached = waits(asked.device, run)
            answer.row(
                site=site,
                steps=steps,
                plain=plain,
                attached=attached,
                beyond_per_step=(attached - plain) / steps,
            )


def waits(device: str, run: Callable[[], Any]) -> int:
    """How often the host waits in a run: seen on a GPU, counted by what would wait on CPUs."""
    with (_warned if device == "cuda" else _counted)() as count:
        run()
    return count()


@contextmanager
def _warned() -> Iterator[Callable[[], int]]:
    before = torch.cuda.get_sync_debug_mode()
    with warnings.catch_warnings(record=True) as seen:
        warnings.simplefilter("always")
        torch.cuda.set_sync_debug_mode("warn")
        try:
            yield lambda: sum(WAITED in str(each.message) for each in seen)
        finally:
            torch.cuda.set_sync_debug_mode(before)


@contextmanager
def _counted() -> Iterator[Callable[[], int]]:
    reads, copies = _Reads(), _Copies()
    with reads, copies:
        yield lambda: reads.count + copies.count


class _Reads(TorchDispatchMode):
    """Counts operations that give the host a number."""

    def __init__(self) -> None:
        super().__init__()
        self.count = 0

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        self.count += func.overloadpacket.__name__ in WAITING
        return func(*args, **(kwargs or {}))


class _Copies(TorchFunctionMode):
    """Counts calls that bring a tensor to the host; on CPUs they dispatch nothing."""

    def __init__(self) -> None:
        super().__init__()
        self.count = 0

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        self.count += func in TO_HOST
        return func(*args, **(kwargs or {}))
