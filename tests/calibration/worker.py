"""One process of a group that calibrates: python -m tests.calibration.worker OUT [DIES_AT]."""

from __future__ import annotations

import os
import signal
import sys
from pathlib import Path

import torch

from forecastcache.calibration.calibrate import calibrate
from forecastcache.calibration.distributed import process_group
from forecastcache.errors import CalibrationError
from forecastcache.sampling.request import Request

from .toys import Guided

STEPS, COUNT, MICRO_BATCH = 8, 7, 2


def main(out: Path, dies_at: int | None) -> None:
    torch.set_num_threads(1)
    pipe = Guided(lambda step: [1.0, -1.0])
    request = Request(steps=STEPS, count=COUNT, seed=1000)

    with process_group() as group:

        def progress(stage: str, done: int, of: int) -> None:
            if dies_at is not None and group.rank == group.size - 1 and done >= dies_at:
                os.kill(os.getpid(), signal.SIGKILL)

        calibrate(
            pipe, [request], out, ["0,3,6", "search:3"],
            micro_batch=MICRO_BATCH, tries=4, progress=progress, group=group,
        )  # fmt: skip


if __name__ == "__main__":
    try:
        main(Path(sys.argv[1]), int(sys.argv[2]) if len(sys.argv) > 2 else None)
    except CalibrationError as error:
        print(error, file=sys.stderr)
        sys.exit(2)
