"""What learning costs `fc.accelerate`: processor time of recording, and of a fit, in plain runs.

python benchmarks/learning.py [zoo:NAME ...]

Processor time, since a machine with other work to do spoils wall time and not this; each recorded
call has a plain one beside it.
"""

from __future__ import annotations

import sys
from statistics import median
from tempfile import TemporaryDirectory
from time import process_time
from typing import Any

from diffusers.utils import logging
from measure import record

import forecastcache as fc
from forecastcache.sampling.loading import load
from forecastcache.sampling.request import Request

MODELS = ("zoo:flux-digits", "zoo:qwen-digits", "zoo:hunyuan-digits", "zoo:flux-emoji")
COUNT, PAIRS = 9, 15
ENOUGH = 4  # pictures that a fit is made of


def rows(name: str) -> list[dict[str, Any]]:
    pipe = load(name)
    pipe.set_progress_bar_config(disable=True)
    parts = Request.of(name, split="calibration", seed=1000, count=PAIRS + 1).split(pipe, 1)
    with TemporaryDirectory() as folder:
        fast = fc.accelerate(
            pipe, computed=COUNT, pictures=len(parts) + 1, folder=folder, progress=False
        )
        (_, _), *pairs = [(_spent(pipe, part, pipe), _spent(fast, part, pipe)) for part in parts]
    plain = median(alone for alone, _ in pairs)
    with TemporaryDirectory() as folder:
        fast = fc.accelerate(
            pipe, computed=COUNT, pictures=ENOUGH + 1, folder=folder, progress=False
        )
        for part in parts[:ENOUGH]:
            _spent(fast, part, pipe)
        started = process_time()
        fast.fit()
        fit = process_time() - started
        evaluations = fast.summary().fit_plain_runs
    return [
        {"model": name, "plain_s": round(plain, 3),
         "recording": round(median(recorded / alone for alone, recorded in pairs), 3),
         "fit_plain_runs": round(fit / plain / ENOUGH, 2),
         "fit_evaluations_as_plain_runs": round(evaluations or 0, 2)}
    ]  # fmt: skip


def _spent(call: Any, part: Request, pipe: Any) -> float:
    keywords = part.keywords(pipe)
    started = process_time()
    call(**keywords)
    return process_time() - started


def main() -> None:
    logging.set_verbosity_error()
    record("learning", [row for name in sys.argv[1:] or MODELS for row in rows(name)])


if __name__ == "__main__":
    main()
