"""Campaign: a whole calibration, from prompts to a file; killed, it goes on where it was.

What was recorded of each part of the prompts is kept in `OUT.parts/` until the file is written.
"""

from __future__ import annotations

import shutil
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file, save_file
from torch import Tensor

from forecastcache.attachment import denoisers
from forecastcache.calibration.artifact import About, Calibration, Fit, decibels
from forecastcache.calibration.closed_loop import DEPTH, Rolled, roll
from forecastcache.calibration.identity import Identity, versions
from forecastcache.calibration.memo import Memo
from forecastcache.calibration.parts import in_parts
from forecastcache.calibration.recording import Recording, record
from forecastcache.calibration.search import climb, evenly
from forecastcache.calibration.wanted import FEWEST, Wanted
from forecastcache.errors import CalibrationError
from forecastcache.registry import adapter_for
from forecastcache.sampling import Request
from forecastcache.whole import whole

HELD_OUT = 0.25  # share of the prompts by which a search judges schedules
STARTS = 2  # of a search
ARRAYS = ("times", "gram", "branches", "products")
COUNTS = ("prompts", "elements")
Tell = Callable[[str, int, int], None]


def calibrate(
    pipe: Any,
    request: Request,
    out: Path,
    wanted: Sequence[Wanted] = (),
    *,
    micro_batch: int = 8,
    tries: int = 60,
    depth: int = DEPTH,
    tell: Tell = lambda stage, done, of: None,
) -> Calibration:
    """Record the prompts of `request`, fit the schedules wanted in closed loop, write the file.

    Args:
        pipe: a diffusers pipeline with nothing attached.
        request: what to ask it for.
        out: the file.
        wanted: schedules to fit in closed loop.
        micro_batch: samples that the network sees at once.
        tries: schedules that a search looks at.
        depth: newest computed steps that closed-loop rows read.
        tell: hears how far each stage is.

    Raises:
        CalibrationError: fewer than two prompts, a sampler that closed loop cannot serve, or
            what was recorded before is of something else.
    """
    parts = request.split(pipe, micro_batch)
    prompts = sum(len(part.classes) + len(part.prompts) for part in parts)
    if prompts < FEWEST:
        raise CalibrationError(
            f"{prompts} prompt is too few: give {FEWEST} at least, 50 are usual"
        )
    identity = Identity.of(pipe, request.steps, request.guidance(pipe))
    partial = _open(out, identity, request, micro_batch)
    recordings = []
    for number, part in enumerate(parts):
        recordings.append(_recorded(pipe, part, partial / f"{number:04}.safetensors"))
        tell("recording", number + 1, len(parts))
    recording = sum(recordings[1:], recordings[0])
    about = About(
        identity=identity, prompts=prompts, elements=recording.elements, versions=versions()
    )
    calibration = Calibration(about, recording)
    if wanted:
        recording.motion.require_first_order(identity.scheduler.name)
        plain = _samples(partial)
        for number, each in enumerate(wanted):
            fit = _fitted(pipe, request, plain, recording, each, micro_batch, tries, depth, tell)
            calibration = calibration.with_fits([fit])
            tell("fitting", number + 1, len(wanted))
    calibration.save(out)
    shutil.rmtree(partial)
    return calibration


def _open(out: Path, identity: Identity, request: Request, micro_batch: int) -> Path:
    """The folder of what was recorded before, if it is of the same."""
    partial = out.with_name(out.name + ".parts")
    partial.mkdir(parents=True, exist_ok=True)
    note, text = partial / "of.txt", f"{identity.model_dump_json()}\n{request}\n{micro_batch}\n"
    if note.exists() and note.read_text() != text:
        raise CalibrationError(
            f"{partial} holds part of a calibration of another model, sampler, guidance or set of "
            "prompts: remove it, or give another --out"
        )
    note.write_text(text)
    return partial


def _recorded(pipe: Any, part: Request, path: Path) -> Recording:
    """What was recorded of a part of the prompts, now or before."""
    if path.exists():
        known = load_file(path)
        read: dict[str, Any] = {name: known[name].numpy() for name in ARRAYS}
        read |= {name: int(known[name]) for name in COUNTS}
        return Recording(**read)
    recording, samples = record(
        pipe, lambda: part.sample(pipe), len(part.classes) + len(part.prompts)
    )
    tensors = {name: torch.from_numpy(getattr(recording, name)) for name in ARRAYS}
    tensors |= {name: torch.tensor(getattr(recording, name)) for name in COUNTS}
    tensors["samples"] = torch.stack(samples)
    with whole(path) as unfinished:
        save_file({name: tensor.contiguous() for name, tensor in tensors.items()}, unfinished)
    return recording


def _samples(partial: Path) -> list[Tensor]:
    """x_0 to x_T of all prompts."""
    parts = [load_file(path)["samples"] for path in sorted(partial.glob("*.safetensors"))]
    return list(torch.cat(parts, dim=1))


def _fitted(
    pipe: Any,
    request: Request,
    plain: list[Tensor],
    recording: Recording,
    wanted: Wanted,
    micro_batch: int,
    tries: int,
    depth: int,
    tell: Tell,
) -> Fit:
    """One schedule in closed loop: judged on the last prompts, then fitted to all."""
    (model, *_), _ = denoisers(pipe)
    count, spent, memo = len(plain[0]), 0, Memo()
    judged_from = count - max(1, round(HELD_OUT * count))

    def rolled(computed: Sequence[int], fitted: int | None, memo: Memo | None = None) -> Rolled:
        with in_parts(model, adapter_for(model), micro_batch):
            return roll(
                pipe, lambda: request.sample(pipe), plain, recording.motion, computed, depth,
                fitted=fitted, memo=memo,
            )  # fmt: skip

    def error(computed: tuple[int, ...]) -> float:
        nonlocal spent
        spent += 1
        tell(f"searching {wanted.count}", min(spent, tries), tries)
        return rolled(computed, judged_from, memo).error

    if wanted.computed is None:
        total, each = recording.steps, max(1, tries // STARTS)
        starts = [evenly(wanted.count, total), evenly(wanted.count, total, total - 3)]
        found = [climb(error, start, total, each, seed) for seed, start in enumerate(starts)]
        best = min(found, key=lambda it: it.error)
        computed, judged = best.computed, best.error
    else:
        computed, judged = wanted.computed, rolled(wanted.computed, judged_from).error
    rows = rolled(computed, None).rows
    return Fit(computed=computed, rows=rows, psnr_db=decibels(judged))
