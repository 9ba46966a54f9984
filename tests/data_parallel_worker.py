"""One of the processes that share samples or rows: python -m tests.data_parallel_worker HOW OUT.

HOW is `fresh` or `joined` (torch's own process group is there already), and with `-dies` the last
process is killed after its first row of an evaluation. Writes what it found to OUT, a file for
each rank; the test compares.
"""

from __future__ import annotations

import os
import signal
import sys
from collections.abc import Iterable
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from torch import distributed

import forecastcache as fc
from forecastcache.calibration.distributed import ProcessGroup
from forecastcache.errors import CalibrationError
from forecastcache.evaluation.measure import Measure, Measured
from forecastcache.evaluation.method import Forecast, Method, Plain
from forecastcache.sampling.share import share

from .conftest import make_pipeline
from .processes import Collectives

STEPS, COUNT = 6, 5
TIMED = {"seconds", "seconds_plain", "speedup", "peak_bytes", "peak_bytes_plain"}
LEARNED_FROM, SEED = (1, 2), 30


def request() -> fc.Request:
    return fc.Request(steps=STEPS, classes=tuple(map(str, range(COUNT))), guidance_scale=2.0)


def forecast(schedule: fc.Schedule) -> Forecast:
    return Forecast(fc.Taylor(order=1), schedule, "output", "taylor", str(schedule))


def methods() -> list[Method]:
    schedules = (fc.Every(2), fc.Every(3), fc.Listed((0, 3)), fc.Listed((0, 1, 4)))
    return [Plain(), *map(forecast, schedules)]


def measured(group: ProcessGroup = ProcessGroup()) -> Measured:  # noqa: B008  # frozen
    """A run whose samples are shared, as `forecastcache run` shares them."""
    pipe = make_pipeline()
    mine = share(request(), pipe, group.rank, group.size)
    return Measure(pipe, mine, group=group)(forecast(fc.Every(3)))


def evaluated(out: Path, group: ProcessGroup, **options: Any) -> list[dict[str, Any]]:
    found = fc.evaluate(make_pipeline(), request(), methods(), out=out, group=group, **options)
    return [without_times(row) for row in found.rows]


def without_times(row: fc.Measurement) -> dict[str, Any]:
    return row.model_dump(exclude=TIMED)


def accelerated(folder: Path, labels: Iterable[int]) -> dict[int, torch.Tensor]:
    """Pictures of a pipeline that has learned from two others."""
    pipe = make_pipeline()
    fast = fc.accelerate(pipe, computed=3, pictures=2, folder=folder, progress=False)
    return {
        label: torch.from_numpy(
            fast(
                [label], num_inference_steps=STEPS, guidance_scale=2.0, output_type="np",
                generator=torch.Generator().manual_seed(label),
            ).images
        )
        for label in (*LEARNED_FROM, *labels)
    }  # fmt: skip


def disagreeing(group: ProcessGroup) -> str:
    """What is said where all processes but the first are asked for something else."""
    asked = request() if group.is_main else replace(request(), steps=STEPS + 1, seed=9)
    try:
        fc.evaluate(make_pipeline(), asked, methods(), group=group)
    except CalibrationError as error:
        return str(error)
    return ""


def look(out: Path, group: ProcessGroup) -> dict[str, Any]:
    run = measured(group)
    found = {
        "run": (run.row.model_dump(exclude=TIMED), run.samples, run.plain),
        "rows": evaluated(out / "rows", group),
        "disagreeing": disagreeing(group),
    }
    with Collectives() as passed:
        found["accelerated"] = accelerated(out / f"kept-{group.rank}", [SEED + group.rank])
    return {**found, "collectives": passed.counts}


def killed(out: Path, group: ProcessGroup) -> None:
    def progress(stage: str, done: int, of: int) -> None:
        if group.rank == group.size - 1:
            os.kill(os.getpid(), signal.SIGKILL)

    evaluated(out, group, progress=progress)


def main(how: str, out: Path) -> None:
    torch.set_num_threads(1)
    if how.startswith("joined"):
        distributed.init_process_group("gloo")
    with fc.process_group() as group:
        if how.endswith("dies"):
            killed(out, group)
        else:
            torch.save(look(out, group), out / f"{group.rank}.pt")
    if how.startswith("joined"):
        distributed.destroy_process_group()


if __name__ == "__main__":
    try:
        main(sys.argv[1], Path(sys.argv[2]))
    except CalibrationError as error:
        print(error, file=sys.stderr)
        sys.exit(2)
