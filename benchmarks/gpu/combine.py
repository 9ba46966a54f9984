"""The bandwidth of History.combine, and of a copy that moves the same bytes."""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

import torch
from answer import Answer
from asked import Asked
from timing import median_seconds

import forecastcache as fc

NEEDS = ()
MIB = 2**20
TIMES = 15


class Case(NamedTuple):
    """A sum of `depth` features of so many bytes each."""

    dtype: torch.dtype
    depth: int
    feature: int

    @property
    def moved(self) -> int:
        """Bytes that must be read and written: each feature, and their sum."""
        return (self.depth + 1) * self.feature

    @property
    def held(self) -> int:
        """Bytes held at the most: features, one that is drawn, the sum, its scratch, a copy."""
        return self.moved + 4 * self.feature + self.moved


def cases(tiny: bool) -> Iterator[Case]:
    """From 0.5 MiB to 2 GiB; a feature of FLUX.1-dev at 1024 x 1024 pixels has 27 MiB."""
    sizes = (MIB // 16,) if tiny else (MIB // 2, 4 * MIB, 27 * MIB, 256 * MIB, 2048 * MIB)
    for dtype in (torch.bfloat16, torch.float32):
        for depth in (2, 3, 9):
            for feature in sizes:
                yield Case(dtype, depth, feature)


def main(asked: Asked, answer: Answer) -> None:
    for case in cases(asked.tiny):
        dtype = str(case.dtype).removeprefix("torch.")
        named = f"{dtype}, depth {case.depth}, {case.feature / MIB:g} MiB"
        with answer.trying(named):
            reason = asked.no_room_for(case.held) or asked.no_time_for(1)
            if reason:
                answer.skip(named, reason)
                continue
            combine, copy = measured(case, asked.device)
            answer.row(
                dtype=dtype,
                depth=case.depth,
                feature_mib=case.feature / MIB,
                combine_gb_per_s=case.moved / combine / 1e9,
                copy_gb_per_s=case.moved / copy / 1e9,
                of_copy=copy / combine,
            )


def measured(case: Case, device: str) -> tuple[float, float]:
    """Median seconds of the sum, and of a clone that reads half of its bytes and writes half."""
    history = fc.History(case.depth)
    for index in range(case.depth):
        feature = torch.randn(case.feature // case.dtype.itemsize, device=device, dtype=case.dtype)
        history.observe(fc.Step(index, 0.0), feature)
    row = [(-1.0) ** index * (index + 1.5) for index in range(case.depth)]
    combine = median_seconds(device, lambda: history.combine(row), TIMES)
    source = torch.ones(case.moved // 2, dtype=torch.uint8, device=device)
    return combine, median_seconds(device, source.clone, TIMES)
