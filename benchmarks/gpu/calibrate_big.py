"""A calibration from hundreds of prompts: seconds, and whether it is nearer than what ships."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, NamedTuple

from answer import Answer
from asked import Asked
from nearness import finals, forecast_finals, latent_psnr_db, loaded
from timing import seconds

import forecastcache as fc

NEEDS = ("diffusers", "transformers", "sklearn", "scipy")
MODEL = "zoo:flux-digits"
COMPUTED = 9


class Scale(NamedTuple):
    """How many steps, calibration prompts of each calibration, and held-out prompts there are."""

    steps: int
    counts: tuple[int, ...]
    held_out: int
    batch: int


FULL = Scale(steps=50, counts=(64, 512), held_out=64, batch=64)
TINY = Scale(steps=8, counts=(2,), held_out=2, batch=2)


def main(asked: Asked, answer: Answer) -> None:
    scale = TINY if asked.tiny else FULL
    pipe = loaded(MODEL, asked.device)
    shipped = fc.Calibration.load(MODEL)
    schedule = fc.Listed((0, 2, 4)) if asked.tiny else shipped.choose(COMPUTED)[0]
    nearness = nearness_on_held_out(pipe, schedule, scale)
    if shipped.recording.steps == scale.steps:
        prompts = shipped.recording.prompts
        add(answer, "shipped", prompts, scale, nearness(shipped.predictor(schedule)))
    else:
        reason = f"it is of {shipped.recording.steps} steps, these are {scale.steps}"
        answer.skip("shipped", reason)
    rate = 0.0
    for count in scale.counts:
        with answer.trying(f"{count} prompts"):
            reason = asked.no_time_for(1 + 1.2 * rate * count)
            if reason:
                answer.skip(f"{count} prompts", reason)
                continue
            made, taken = calibrated(pipe, asked.device, count, schedule, scale)
            rate = taken / count
            add(answer, "made", count, scale, nearness(made.predictor(schedule)), taken)


def nearness_on_held_out(
    pipe: Any, schedule: fc.Schedule, scale: Scale
) -> Callable[[fc.Predictor], float]:
    """How near a predictor's run ends to the plain one, on the same held-out prompts."""
    request = fc.Request.of(MODEL, count=scale.held_out, steps=scale.steps)
    parts = request.split(pipe, scale.batch)
    plain = finals(pipe, parts)
    return lambda predictor: latent_psnr_db(
        forecast_finals(pipe, parts, schedule, predictor)[0], plain
    )


def calibrated(
    pipe: Any, device: str, count: int, schedule: fc.Listed, scale: Scale
) -> tuple[fc.Calibration, float]:
    """A calibration of one schedule, and its seconds."""
    steps, made = scale.steps, list[fc.Calibration]()
    request = fc.Request.of(MODEL, split="calibration", count=count, steps=steps, seed=1000)
    with TemporaryDirectory() as folder:
        out = Path(folder) / "made.safetensors"

        def work() -> None:
            made.append(fc.calibrate(pipe, request, out, [schedule], micro_batch=scale.batch))

        taken = seconds(device, work)
    return made[0], taken


def add(
    answer: Answer,
    calibration: str,
    prompts: int,
    scale: Scale,
    psnr: float,
    taken: float | None = None,
) -> None:
    """A row of one calibration."""
    answer.row(
        calibration=calibration,
        model=MODEL,
        prompts=prompts,
        steps=scale.steps,
        held_out=scale.held_out,
        latent_psnr_db=psnr,
        seconds=taken,
    )
