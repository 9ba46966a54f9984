"""How often the host waits for the device in a step, with a session and without."""

from __future__ import annotations

import warnings
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from answer import Answer
from asked import DTYPE, Asked
from subjects import flux, sample

import forecastcache as fc
from forecastcache.granularity import GRANULARITIES
from forecastcache.testing.host_reads import host_reads

NEEDS = ("diffusers",)
WAITED = "called a synchronizing CUDA operation"


def main(asked: Asked, answer: Answer) -> None:
    subject = flux(asked.tiny, blocks=(2, 2), pixels=512)
    steps = 8 if asked.tiny else 24
    pipe = subject.pipe(asked.device, DTYPE)
    call = subject.call(asked.device, DTYPE)

    def run() -> None:
        sample(pipe, call, steps)

    run()
    plain = places(asked.device, run)
    for site in GRANULARITIES:
        with answer.trying(site):
            reason = asked.no_time_for(1)
            if reason:
                answer.skip(site, reason)
                continue
            with fc.attach(pipe, fc.Every(3, first=2), fc.Taylor(1), site=site):
                run()
                attached = places(asked.device, run)
            beyond = attached - plain
            answer.row(
                site=site,
                steps=steps,
                plain=plain.total(),
                attached=attached.total(),
                beyond_per_step=beyond.total() / steps,
                where=dict(beyond),
            )


def places(device: str, run: Callable[[], Any]) -> Counter[str]:
    """Where the host waits in a run, and how often: seen on a GPU, on CPUs what would wait."""
    if device == "cuda":
        with _warned() as seen:
            run()
        waits = (it for it in seen if WAITED in str(it.message))
        return Counter(f"{Path(it.filename).name}:{it.lineno}" for it in waits)
    with host_reads() as count:
        run()
    return Counter({"somewhere": count()})


@contextmanager
def _warned() -> Iterator[list[warnings.WarningMessage]]:
    before = torch.cuda.get_sync_debug_mode()
    with warnings.catch_warnings(record=True) as seen:
        warnings.simplefilter("always")
        torch.cuda.set_sync_debug_mode("warn")
        try:
            yield seen
        finally:
            torch.cuda.set_sync_debug_mode(before)
