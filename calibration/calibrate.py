"""calibrate(): a whole calibration, from prompts to a file; killed, it goes on where it was.

What was recorded of each part of the prompts, and each fit, is kept in `OUT.parts/` until the file
is written.
"""

from __future__ import annotations

import json
import logging
from collections.abc import Sequence
from dataclasses import asdict
from functools import partial
from pathlib import Path
from typing import Any

from forecastcache._util.fingerprint import as_json, digest
from forecastcache._util.progress import Progress, silent
from forecastcache.calibration.calibration import Calibration
from forecastcache.calibration.distributed import ProcessGroup
from forecastcache.calibration.fit import SizeFitter
from forecastcache.calibration.fits import Fit, SizeFits
from forecastcache.calibration.identity import Identity, versions
from forecastcache.calibration.io import require_replaceable
from forecastcache.calibration.part_files import Parts
from forecastcache.calibration.recorder import RequestRecorder
from forecastcache.calibration.targets import FEWEST, FitTarget
from forecastcache.engine.attach import denoisers
from forecastcache.errors import CalibrationError
from forecastcache.sampling.request import Request
from forecastcache.schedule import Schedule

logger = logging.getLogger("forecastcache")


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
            serve, guidance that changes during a run, `out` or the folder beside it is something
            else or in use, or another process has ended or was asked for something else.
    """
    requests = _listed(requests)
    targets = [_target(each, requests[0].steps) for each in schedules]
    require_replaceable(Path(out))
    identity = _identity(pipe, requests)
    note = _note(pipe, identity, requests, micro_batch, depth)
    group.require_same({**note, "schedules": ";".join(map(str, targets)), "tries": str(tries)})
    divided = _divided(pipe, requests, micro_batch, group)
    with Parts.of(Path(out), note, group) as kept:
        fitters = []
        for number, request in enumerate(requests):
            recorder = RequestRecorder(
                pipe, number, divided[number], bool(targets), kept, group, micro_batch, depth
            )
            stage = "recording" + f" {_name(request)}" * (len(requests) > 1)
            fitters.append(recorder.fitter(partial(progress, stage)))
            if targets:
                fitters[-1].recording.motion.require_first_order(identity.scheduler.name)
        sizes = [SizeFits(_name(it), fitter.recording) for it, fitter in zip(requests, fitters)]
        calibration = Calibration(identity, tuple(sizes), versions())
        for number, target in enumerate(targets):
            for size, fit in enumerate(_fitted(fitters, target, kept, tries, group, progress)):
                calibration = calibration.with_fits([fit], size)
            progress("fitting", number + 1, len(targets))
        if group.is_main:
            calibration.save(out)
        group.wait()
        kept.remove()
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
    pipe: Any, requests: Sequence[Request], micro_batch: int, group: ProcessGroup
) -> list[list[Request]]:
    """Each request in micro-batches; refuses too few prompts and too many processes."""
    divided = [request.split(pipe, micro_batch) for request in requests]
    fewest = min(sum(map(len, parts)) for parts in divided)
    if fewest < FEWEST:
        raise CalibrationError(f"{fewest} prompt is too few: give {FEWEST} at least, 50 are usual")
    for parts in divided:
        group.own(parts)
    return divided


def _note(
    pipe: Any,
    identity: Identity,
    requests: Sequence[Request],
    micro_batch: int,
    depth: int | None,
) -> dict[str, str]:
    """Everything that the parts depend on, by what a user calls it."""
    (model, *_), _ = denoisers(pipe)
    return {
        "model": f"{identity.model.name} {identity.model.config}",
        "weights": identity.weights or str(getattr(pipe, "name_or_path", "")),
        "dtype": str(next(model.parameters()).dtype),
        "scheduler": f"{identity.scheduler.name} {identity.scheduler.config}",
        "steps": str(identity.steps),
        "guidance": str(identity.guidance),
        "prompts, seeds or sizes": digest(json.dumps([as_json(asdict(it)) for it in requests])),
        "--micro-batch": str(micro_batch),
        "depth": str(depth),
    }


def _name(request: Request) -> str:
    height, width = request.call.get("height"), request.call.get("width")
    return f"{height}x{width}" if height and width else "the pipeline's own size"


def _fitted(
    fitters: Sequence[SizeFitter],
    target: FitTarget,
    kept: Parts,
    tries: int,
    group: ProcessGroup,
    progress: Progress,
) -> list[Fit]:
    """The fit of one schedule at each size, made now or before."""
    name = f"fit-{digest(f'{target} {tries}')}.json"
    known = group.from_main(lambda: kept.read(name))
    if known is not None:
        logger.info("calibration: %s was fitted before", target)
        return [Fit.model_validate(fit) for fit in known]
    computed = target.computed or _searched(fitters[0], target.count, kept, tries, group, progress)
    fits = [fitter.fit(computed) for fitter in fitters]
    if group.is_main:
        kept.write(name, [fit.model_dump() for fit in fits])
    return fits


def _searched(
    fitter: SizeFitter,
    count: int,
    kept: Parts,
    tries: int,
    group: ProcessGroup,
    progress: Progress,
) -> tuple[int, ...]:
    """The steps that a search finds; what was tried before is not rolled again."""
    name = f"search-{count}.json"
    known = group.from_main(lambda: kept.read(name)) or []
    errors = {tuple(computed): error for computed, error in known}

    def keep(computed: tuple[int, ...], error: float) -> None:
        errors[computed] = error
        if group.is_main:
            kept.write(name, list(errors.items()))

    return fitter.search(count, tries, progress, dict(errors), keep)
