"""calibrate(): a whole calibration, from prompts to a file; killed, it goes on where it was.

What was recorded of each part of the prompts, and each fit, is kept in `OUT.parts/` until the file
is written.
"""

from __future__ import annotations

import json
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict
from functools import partial
from itertools import zip_longest
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from forecastcache._util.fingerprint import as_json, digest
from forecastcache._util.progress import Progress, silent
from forecastcache.calibration.calibration import Calibration
from forecastcache.calibration.distributed import ProcessGroup
from forecastcache.calibration.fit import SizeFitter
from forecastcache.calibration.fits import SizeFits
from forecastcache.calibration.guidance import require_seen, scales_of
from forecastcache.calibration.identity import Identity, versions
from forecastcache.calibration.io import require_replaceable
from forecastcache.calibration.part_files import Parts
from forecastcache.calibration.prompt_cache import prompts_encoded_once
from forecastcache.calibration.recorder import RequestRecorder
from forecastcache.calibration.subset import ELEMENTS, Subset
from forecastcache.calibration.targets import TRIES, Effort, FitTarget
from forecastcache.calibration.work import Work
from forecastcache.engine.attach import denoisers
from forecastcache.errors import CalibrationError, ForecastCacheWarning
from forecastcache.sampling.request import Request
from forecastcache.schedule import Schedule

FEWEST = 2  # prompts by which rows can be judged
USUAL = 8


def calibrate(
    pipe: Any,
    requests: Request | Sequence[Request],
    out: str | Path | None = None,
    schedules: Sequence[str | Schedule | FitTarget] | None = None,
    *,
    micro_batch: int = 8,
    tries: int = TRIES,
    refine: bool = True,
    evaluations: int | None = None,
    elements: int = ELEMENTS,
    depth: int | None = None,
    progress: Progress = silent,
    group: ProcessGroup = ProcessGroup(),  # noqa: B008  # frozen
) -> Calibration:
    """Record the prompts of every request, fit the schedules, write the file.

    Closed loop serves every sampler that is linear in its samples and outputs, multistep and
    stochastic ones too; clip_sample and thresholding are not.

    Args:
        pipe: a diffusers pipeline with nothing attached.
        requests: the samples to record, one request for each size, or for each guidance scale;
            four to eight serve. Schedules are searched for at the first and fitted at all.
        out: path of the file; None to write none, and to keep nothing of what was recorded.
        schedules: schedules to fit in closed loop: objects, specs such as `every:7` or `0,6,12`,
            or `search:9` for the nine steps that suit best. None for searches of 4 to 18.
        micro_batch: number of samples that the network sees at once.
        tries: number of schedules that a search looks at, at most.
        refine: whether rows are refined all together, where `evaluations` allow it.
        evaluations: most evaluations of the network, for one sample each; None for as many as 120
            plain runs of every sample take. A sampler that draws noise takes a quarter of a plain
            run besides.
        elements: number of elements of each sample that are looked at, at most.
        depth: number of newest computed steps that closed-loop rows read; None for all.
        progress: called with (stage, done, of) as each stage goes on.
        group: processes that share the prompts; the main one writes the file.

    Raises:
        CalibrationError: no requests, a sampler that is not linear, noise that depends on how
            samples lie in batches, guidance that changes during a run, requests that differ in
            guidance where rows cannot be mixed by it, `evaluations` below what is needed, `out` or
            the folder beside it is something else or in use, or another process has ended or was
            asked for something else.
    """
    requests = _listed(requests)
    effort = _effort(requests, schedules, tries, refine, evaluations)
    identity = _identity(pipe, requests)
    note = _note(pipe, identity, requests, micro_batch, depth, elements)
    group.require_same({**note, **effort.note})
    divided = _divided(pipe, requests, micro_batch, group)
    with _place(out) as place, Parts.of(place, note, group) as kept, prompts_encoded_once(pipe):
        recorder = RequestRecorder(
            pipe, bool(effort.targets), kept, group, micro_batch, depth, Subset(elements)
        )
        names = _names(requests, identity.scales)
        fitters = [
            recorder.fitter(number, divided[number], partial(progress, _stage(name, len(names))))
            for number, name in enumerate(names)
        ]
        require_seen(pipe, [fitter.recording for fitter in fitters], identity.scales)
        recorded = _recorded(identity, names, fitters)
        calibration = _with_fits(recorded, Work(fitters, effort, kept, group, progress))
        if group.is_main:
            calibration.save(place)
        group.wait()
        kept.remove()
    return calibration


@contextmanager
def _place(out: str | Path | None) -> Iterator[Path]:
    """The path of the file; one that is gone afterwards where none is given."""
    if out is not None:
        require_replaceable(Path(out))
        yield Path(out)
        return
    with TemporaryDirectory() as folder:
        yield Path(folder) / "calibration"


def _stage(name: str, of: int) -> str:
    return "recording" + f" {name}" * (of > 1)


def _recorded(
    identity: Identity, names: Sequence[str], fitters: Sequence[SizeFitter]
) -> Calibration:
    sizes = [
        SizeFits(name, fitter.recording, guidance=scale)
        for name, fitter, scale in zip_longest(names, fitters, identity.scales)
    ]
    return Calibration(identity, tuple(sizes), versions())


def _with_fits(calibration: Calibration, work: Work) -> Calibration:
    for each in calibration.sizes if work.effort.targets else ():
        each.recording.motion.require_linear(calibration.identity.scheduler.name)
    for number, fits in enumerate(work.fits()):
        for size, fit in enumerate(fits):
            calibration = calibration.with_fits([fit], size)
        work.progress("fitting", number + 1, len(work.effort.targets))
    return calibration.with_fits(work.checked())


def _effort(
    requests: Sequence[Request],
    schedules: Sequence[str | Schedule | FitTarget] | None,
    tries: int,
    refine: bool,
    evaluations: int | None,
) -> Effort:
    steps = requests[0].steps
    wanted = FitTarget.usual(steps) if schedules is None else schedules
    targets = [it if isinstance(it, FitTarget) else FitTarget.of(it, steps) for it in wanted]
    samples = [len(request) for request in requests]
    return Effort.within(samples, steps, list(dict.fromkeys(targets)), tries, refine, evaluations)


def _listed(requests: Request | Sequence[Request]) -> list[Request]:
    listed = [requests] if isinstance(requests, Request) else list(requests)
    if not listed:
        raise CalibrationError("there are no requests to record: give one for each size")
    return listed


def _identity(pipe: Any, requests: Sequence[Request]) -> Identity:
    first, *others = requests
    asked = first.steps, first.guidance(pipe), _eta(first), first.guidance_2
    identity = Identity.of(pipe, *asked)
    for other in others:
        identity.require_steps(other.steps)
        identity.require_eta(_eta(other))
    return identity.model_copy(update={"scales": scales_of(pipe, requests)})


def _eta(request: Request) -> float:
    return float(request.call.get("eta") or 0.0)


def _divided(
    pipe: Any, requests: Sequence[Request], micro_batch: int, group: ProcessGroup
) -> list[list[Request]]:
    """Each request in micro-batches; refuses too many processes."""
    divided = [request.split(pipe, micro_batch) for request in requests]
    fewest = min(sum(map(len, parts)) for parts in divided)
    if fewest < FEWEST:
        warnings.warn(
            "the calibration is of a single prompt: its rows fit that one best, and nothing "
            f"judges them; give {FEWEST} prompts at least, {USUAL} are usual",
            ForecastCacheWarning,
            stacklevel=3,
        )
    for parts in divided:
        group.own(parts)
    return divided


def _note(
    pipe: Any,
    identity: Identity,
    requests: Sequence[Request],
    micro_batch: int,
    depth: int | None,
    elements: int,
) -> dict[str, str]:
    """Everything that the parts depend on, by what a user calls it."""
    (model, *_), _ = denoisers(pipe)
    return {
        "model": f"{identity.model} {identity.second} {identity.boundary}",
        "weights": identity.weights or str(getattr(pipe, "name_or_path", "")),
        "dtype": str(next(model.parameters()).dtype),
        "scheduler": f"{identity.scheduler.name} {identity.scheduler.config}",
        "steps": str(identity.steps),
        "guidance": f"{identity.scales or identity.guidance} {identity.guidance_2}",
        "eta": str(identity.eta),
        "prompts, seeds or sizes": digest(json.dumps([as_json(asdict(it)) for it in requests])),
        "--micro-batch": str(micro_batch),
        "depth": str(depth),
        "--elements": str(elements),
    }


def _names(requests: Sequence[Request], scales: Sequence[float]) -> list[str]:
    return [
        _name(request) + ("" if scale is None else f" at guidance {scale:g}")
        for request, scale in zip_longest(requests, scales)
    ]


def _name(request: Request) -> str:
    height, width = request.call.get("height"), request.call.get("width")
    return f"{height}x{width}" if height and width else "the pipeline's own size"
