"""calibrate(): a whole calibration, from prompts to a file; killed, it goes on where it was.

What was recorded of each part of the prompts, and each fit, is kept in `OUT.parts/` until the file
is written.
"""

from __future__ import annotations

import json
import logging
import shutil
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from hashlib import sha256
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor

from forecastcache._util.atomic_write import atomic_write
from forecastcache._util.progress import Progress, silent
from forecastcache.calibration.calibration import Calibration
from forecastcache.calibration.distributed import ProcessGroup, Shard
from forecastcache.calibration.fit import SizeFitter
from forecastcache.calibration.fits import Fit, SizeFits
from forecastcache.calibration.identity import Identity, versions
from forecastcache.calibration.io import ARRAYS
from forecastcache.calibration.recording import Recording, record
from forecastcache.calibration.targets import FEWEST, FitTarget
from forecastcache.engine.attach import denoisers
from forecastcache.errors import CalibrationError
from forecastcache.sampling.request import Request
from forecastcache.schedule import Schedule

logger = logging.getLogger("forecastcache")
COUNTS = ("prompts", "elements")


@dataclass(frozen=True)
class _Options:
    """How a calibration is made; see `calibrate`."""

    micro_batch: int
    tries: int
    depth: int | None


def calibrate(
    pipe: Any,
    requests: Request | Sequence[Request],
    out: str | Path,
    schedules: Sequence[str | Schedule | FitTarget] = (),
    *,
    micro_batch: int = 8,
    tries: int = 60,
    depth: int | None = None,
    progress: Progress = silent,
    group: ProcessGroup = ProcessGroup(),  # noqa: B008  # frozen
) -> Calibration:
    """Record the prompts of every request, fit the schedules, write the file.

    Args:
        pipe: a diffusers pipeline with nothing attached.
        requests: the samples to record, one request for each size. Schedules are searched
            for at the first and fitted at all.
        out: path of the file.
        schedules: schedules to fit in closed loop: objects, specs such as `every:7` or `0,6,12`,
            or `search:9` for the nine steps that suit best.
        micro_batch: number of samples that the network sees at once.
        tries: number of schedules that a search looks at.
        depth: number of newest computed steps that closed-loop rows read; None for all.
        progress: called with (stage, done, of) as each stage goes on.
        group: processes that share the prompts; the main one writes the file.

    Raises:
        CalibrationError: no requests or fewer than two prompts, a sampler that closed loop cannot
            serve, guidance that changes during a run, what was recorded before is of something
            else, or another process has ended.
    """
    requests = _listed(requests)
    options = _Options(micro_batch, tries, depth)
    targets = [_target(each, requests[0].steps) for each in schedules]
    out = Path(out)
    identity = _identity(pipe, requests)
    divided = _divided(pipe, requests, options, group)
    folder = _open(out, _note(pipe, identity, requests, options))
    fitters = []
    for number, request in enumerate(requests):
        stage = "recording" + f" {_name(request)}" * (len(requests) > 1)
        parts = divided[number]
        paths = [folder / f"{number}-{part:04}.safetensors" for part in range(len(parts))]
        recorded = _Recorder(pipe, parts, paths, bool(targets), group, options)
        fitters.append(recorded.fitter(partial(progress, stage)))
        if targets:
            fitters[-1].recording.motion.require_first_order(identity.scheduler.name)
    sizes = [SizeFits(_name(it), fitter.recording) for it, fitter in zip(requests, fitters)]
    calibration = Calibration(identity, tuple(sizes), versions())
    for number, target in enumerate(targets):
        for size, fit in enumerate(_fitted(fitters, target, folder, options, group, progress)):
            calibration = calibration.with_fits([fit], size)
        progress("fitting", number + 1, len(targets))
    if group.is_main:
        calibration.save(out)
    group.wait()
    shutil.rmtree(folder, ignore_errors=True)
    return calibration


def _listed(requests: Request | Sequence[Request]) -> list[Request]:
    listed = [requests] if isinstance(requests, Request) else list(requests)
    if not listed:
        raise CalibrationError("there are no requests to record: give one for each size")
    return listed


def _target(wish: str | Schedule | FitTarget, steps: int) -> FitTarget:
    return wish if isinstance(wish, FitTarget) else FitTarget.of(wish, steps)


def _identity(pipe: Any, requests: Sequence[Request]) -> Identity:
    first, *others = (Identity.of(pipe, it.steps, it.guidance(pipe)) for it in requests)
    for other in others:
        first.require(other)
    return first


def _divided(
    pipe: Any, requests: Sequence[Request], options: _Options, group: ProcessGroup
) -> list[list[Request]]:
    """Each request in micro-batches; refuses too few prompts and too many processes."""
    divided = [request.split(pipe, options.micro_batch) for request in requests]
    fewest = min(sum(map(len, parts)) for parts in divided)
    if fewest < FEWEST:
        raise CalibrationError(f"{fewest} prompt is too few: give {FEWEST} at least, 50 are usual")
    for parts in divided:
        group.own(parts)
    return divided


def _note(pipe: Any, identity: Identity, requests: Sequence[Request], options: _Options) -> str:
    """Everything that the parts depend on."""
    (model, *_), _ = denoisers(pipe)
    source = f"{getattr(pipe, 'name_or_path', '')} in {next(model.parameters()).dtype}"
    made = f"{options.micro_batch} {options.depth}"
    return f"{source}\n{identity.model_dump_json()}\n{requests}\n{made}\n"


def _name(request: Request) -> str:
    height, width = request.call.get("height"), request.call.get("width")
    return f"{height}x{width}" if height and width else "the pipeline's own size"


def _open(out: Path, note: str) -> Path:
    """The folder of what was done before, if it was of the same."""
    folder = out.with_name(out.name + ".parts")
    path = folder / "of.txt"
    if path.exists() and path.read_text() != note:
        raise CalibrationError(
            f"{folder} holds part of a calibration of another model, dtype, sampler, guidance, "
            "set of prompts or --micro-batch: remove it, or give another --out"
        )
    with _kept(path) as unfinished:
        unfinished.write_text(note)
    return folder


@dataclass(frozen=True)
class _Recorder:
    """Records this process's parts of one request, or reads what was recorded before."""

    pipe: Any
    parts: Sequence[Request]
    paths: Sequence[Path]
    keep_samples: bool
    group: ProcessGroup
    options: _Options

    def fitter(self, progress: Callable[[int, int], None]) -> SizeFitter:
        """What the fits of this request need."""
        mine, own = self.group.own(self.parts), self.group.own(self.paths)
        recordings = []
        for part, path in zip(mine, own):
            recordings.append(self._recorded(part, path))
            done = min(len(recordings) * self.group.size, len(self.parts))
            progress(done, len(self.parts))
        return SizeFitter(
            pipe=self.pipe,
            request=Request.joined(mine),
            plain=_samples(own) if self.keep_samples else [],
            recording=_summed(recordings, len(self.parts), self.group),
            shard=Shard(tuple(map(len, mine)), len(self.parts), self.group),
            micro_batch=self.options.micro_batch,
            depth=self.options.depth,
        )

    def _recorded(self, part: Request, path: Path) -> Recording:
        known = load_file(path) if path.exists() else {}
        if known and ("samples" in known or not self.keep_samples):
            logger.info("calibration: %s was recorded before", path.name)
            read: dict[str, Any] = {name: known[name].numpy() for name in ARRAYS}
            read |= {name: int(known[name]) for name in COUNTS}
            return Recording(**read, precision=known["precision"].item())
        recording, samples = record(self.pipe, lambda: part.run(self.pipe), len(part))
        tensors = {name: torch.from_numpy(getattr(recording, name)) for name in ARRAYS}
        tensors |= {name: torch.tensor(getattr(recording, name)) for name in COUNTS}
        tensors["precision"] = torch.tensor(recording.precision, dtype=torch.float64)
        if self.keep_samples:
            tensors["samples"] = torch.stack(samples)
        with _kept(path) as unfinished:
            save_file({name: it.contiguous() for name, it in tensors.items()}, unfinished)
        return recording


def _summed(mine: Sequence[Recording], parts: int, group: ProcessGroup) -> Recording:
    """The recording of all parts of all processes."""
    together = sum(mine[1:], mine[0])  # refuses parts that do not go together
    sums: dict[str, Any] = {
        name: group.sum([np.asarray(getattr(each, name)) for each in mine], parts)
        for name in (*ARRAYS[1:], *COUNTS)
    }
    sums |= {name: int(sums[name]) for name in COUNTS}
    return Recording(times=together.times, precision=together.precision, **sums)


def _fitted(
    fitters: Sequence[SizeFitter],
    target: FitTarget,
    folder: Path,
    options: _Options,
    group: ProcessGroup,
    progress: Progress,
) -> list[Fit]:
    """The fit of one schedule at each size, made now or before."""
    name = sha256(f"{target} {options.tries}".encode()).hexdigest()[:16]
    path = folder / f"fit-{name}.json"
    if group.all(path.exists()):
        logger.info("calibration: %s was fitted before", target)
        return [Fit.model_validate(fit) for fit in json.loads(path.read_text())]
    computed = target.computed or fitters[0].search(target.count, options.tries, progress)
    fits = [fitter.fit(computed) for fitter in fitters]
    with _kept(path) as unfinished:
        unfinished.write_text(json.dumps([fit.model_dump() for fit in fits]))
    return fits


@contextmanager
def _kept(path: Path) -> Iterator[Path]:
    try:
        with atomic_write(path) as unfinished:
            yield unfinished
    except (OSError, SafetensorError) as error:
        raise CalibrationError(
            f"{path} cannot be written ({error}): make room, and start again; what was recorded "
            "before is kept"
        ) from None


def _samples(paths: Sequence[Path]) -> list[Tensor]:
    """Samples x_0 to x_T of the prompts of these parts."""
    return list(torch.cat([load_file(path)["samples"] for path in paths], dim=1))
