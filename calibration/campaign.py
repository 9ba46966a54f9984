"""Campaign: a whole calibration, from prompts to a file; killed, it goes on where it was.

What was recorded of each part of the prompts, and each fit, is kept in `OUT.parts/` until the file
is written.
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from hashlib import sha256
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor

from forecastcache.attachment import denoisers
from forecastcache.calibration.artifact import Calibration
from forecastcache.calibration.course import Course
from forecastcache.calibration.file import ARRAYS
from forecastcache.calibration.identity import Identity, versions
from forecastcache.calibration.recording import Recording, record
from forecastcache.calibration.sizes import Fit, Size
from forecastcache.calibration.team import Share, Team
from forecastcache.calibration.wanted import FEWEST, Wanted
from forecastcache.errors import CalibrationError
from forecastcache.sampling import Request
from forecastcache.whole import whole

COUNTS = ("prompts", "elements")
Tell = Callable[[str, int, int], None]


def calibrate(
    pipe: Any,
    requests: Sequence[Request],
    out: Path,
    wanted: Sequence[Wanted] = (),
    *,
    micro_batch: int = 8,
    tries: int = 60,
    depth: int | None = None,
    tell: Tell = lambda stage, done, of: None,
    team: Team = Team(),  # noqa: B008  # frozen
) -> Calibration:
    """Record the prompts of every request, fit the schedules wanted, write the file.

    Args:
        pipe: a diffusers pipeline with nothing attached.
        requests: what to ask it for, one request a size of the samples. Schedules are searched
            for at the first and fitted at all.
        out: the file.
        wanted: schedules to fit in closed loop.
        micro_batch: samples that the network sees at once.
        tries: schedules that a search looks at.
        depth: newest computed steps that closed-loop rows read; None for all.
        tell: hears how far each stage is.
        team: the processes that share the prompts; the first of them writes the file.

    Raises:
        CalibrationError: fewer than two prompts, a sampler that closed loop cannot serve, what
            was recorded before is of something else, or another process has ended.
    """
    identity = _identity(pipe, requests)
    divided = [request.split(pipe, micro_batch) for request in requests]
    counts = [sum(map(len, parts)) for parts in divided]
    if min(counts) < FEWEST:
        raise CalibrationError(
            f"{min(counts)} prompt is too few: give {FEWEST} at least, 50 are usual"
        )
    for parts in divided:
        team.mine(parts)  # refuses too many processes
    folder = _open(out, _note(pipe, identity, requests, micro_batch, depth))
    courses = []
    for number, (request, parts) in enumerate(zip(requests, divided)):
        stage = "recording" + f" {_name(request)}" * (len(requests) > 1)
        paths = [folder / f"{number}-{part:04}.safetensors" for part in range(len(parts))]
        mine, own = team.mine(parts), team.mine(paths)
        recordings = []
        for part, path in zip(mine, own):
            recordings.append(_recorded(pipe, part, path, bool(wanted)))
            tell(stage, min(len(recordings) * team.size, len(parts)), len(parts))
        course = Course(
            pipe=pipe,
            request=Request.joined(mine),
            plain=_samples(own) if wanted else [],
            recording=_summed(recordings, len(parts), team),
            share=Share(tuple(map(len, mine)), len(parts), team),
            micro_batch=micro_batch,
            depth=depth,
        )
        if wanted:
            course.recording.motion.require_first_order(identity.scheduler.name)
        courses.append(course)
    sizes = [Size(_name(each), course.recording) for each, course in zip(requests, courses)]
    calibration = Calibration(identity, tuple(sizes), versions())
    for number, each in enumerate(wanted):
        for size, fit in enumerate(_fitted(courses, each, folder, tries, team, tell)):
            calibration = calibration.with_fits([fit], size)
        tell("fitting", number + 1, len(wanted))
    if team.leads:
        calibration.save(out)
    team.wait()
    shutil.rmtree(folder, ignore_errors=True)
    return calibration


def _identity(pipe: Any, requests: Sequence[Request]) -> Identity:
    first, *others = (Identity.of(pipe, it.steps, it.guidance(pipe)) for it in requests)
    for other in others:
        first.require(other)
    return first


def _note(
    pipe: Any, identity: Identity, requests: Sequence[Request], micro_batch: int, depth: int | None
) -> str:
    """All that what is kept depends on."""
    (model, *_), _ = denoisers(pipe)
    source = f"{getattr(pipe, 'name_or_path', '')} in {next(model.parameters()).dtype}"
    return f"{source}\n{identity.model_dump_json()}\n{requests}\n{micro_batch} {depth}\n"


def _name(request: Request) -> str:
    height, width = request.call.get("height"), request.call.get("width")
    return f"{height}x{width}" if height and width else "the pipeline's own size"


def _open(out: Path, of: str) -> Path:
    """The folder of what was done before, if it was of the same."""
    folder = out.with_name(out.name + ".parts")
    note = folder / "of.txt"
    if note.exists() and note.read_text() != of:
        raise CalibrationError(
            f"{folder} holds part of a calibration of another model, dtype, sampler, guidance, "
            "set of prompts or --micro-batch: remove it, or give another --out"
        )
    with _kept(note) as unfinished:
        unfinished.write_text(of)
    return folder


def _recorded(pipe: Any, part: Request, path: Path, keep: bool) -> Recording:
    """What was recorded of a part of the prompts, now or before; its samples too, to `keep`."""
    known = load_file(path) if path.exists() else {}
    if known and ("samples" in known or not keep):
        read: dict[str, Any] = {name: known[name].numpy() for name in ARRAYS}
        read |= {name: int(known[name]) for name in COUNTS}
        return Recording(**read, precision=known["precision"].item())
    recording, samples = record(pipe, lambda: part.run(pipe), len(part))
    tensors = {name: torch.from_numpy(getattr(recording, name)) for name in ARRAYS}
    tensors |= {name: torch.tensor(getattr(recording, name)) for name in COUNTS}
    tensors["precision"] = torch.tensor(recording.precision, dtype=torch.float64)
    if keep:
        tensors["samples"] = torch.stack(samples)
    with _kept(path) as unfinished:
        save_file({name: it.contiguous() for name, it in tensors.items()}, unfinished)
    return recording


def _summed(mine: Sequence[Recording], parts: int, team: Team) -> Recording:
    """The recording of all parts of all processes."""
    together = sum(mine[1:], mine[0])  # refuses parts that do not go together
    sums: dict[str, Any] = {
        name: team.total([np.asarray(getattr(each, name)) for each in mine], parts)
        for name in (*ARRAYS[1:], *COUNTS)
    }
    sums |= {name: int(sums[name]) for name in COUNTS}
    return Recording(times=together.times, precision=together.precision, **sums)


def _fitted(
    courses: Sequence[Course], wanted: Wanted, folder: Path, tries: int, team: Team, tell: Tell
) -> list[Fit]:
    """The fit of one schedule at each size, now or before."""
    name = sha256(f"{wanted} {tries}".encode()).hexdigest()[:16]
    note = folder / f"fit-{name}.json"
    if team.all(note.exists()):
        return [Fit.model_validate(fit) for fit in json.loads(note.read_text())]
    computed = wanted.computed or courses[0].search(wanted.count, tries, tell)
    fits = [course.fit(computed) for course in courses]
    with _kept(note) as unfinished:
        unfinished.write_text(json.dumps([fit.model_dump() for fit in fits]))
    return fits


@contextmanager
def _kept(path: Path) -> Iterator[Path]:
    try:
        with whole(path) as unfinished:
            yield unfinished
    except (OSError, SafetensorError) as error:
        raise CalibrationError(
            f"{path} cannot be written ({error}): make room, and start again; what was recorded "
            "before is kept"
        ) from None


def _samples(paths: Sequence[Path]) -> list[Tensor]:
    """x_0 to x_T of the prompts of these parts."""
    return list(torch.cat([load_file(path)["samples"] for path in paths], dim=1))
