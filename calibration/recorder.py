"""Request recorder: the recordings of one request, part by part, each made now or before."""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch
from torch import Tensor

from forecastcache.calibration.displaced import displacements
from forecastcache.calibration.distributed import ProcessGroup, Shard
from forecastcache.calibration.fit import SizeFitter
from forecastcache.calibration.output_cache import OutputCache
from forecastcache.calibration.part_files import Parts
from forecastcache.calibration.plausible import ARRAYS
from forecastcache.calibration.recording import Recording, record
from forecastcache.calibration.rolling import Rolls
from forecastcache.calibration.sampler import REGRESSORS
from forecastcache.calibration.subset import Subset
from forecastcache.sampling.request import Request

logger = logging.getLogger("forecastcache")
COUNTS = ("prompts", "elements")
ALIKE = ("precision", "sample_elements")
OF_TWO = "shares"  # an array that only recordings of two models have
TENSORS = ("samples", "guided")


@dataclass(frozen=True)
class RequestRecorder:
    """Records this process's parts of a request, or reads what was recorded before.

    Attributes:
        pipe: a diffusers pipeline with nothing attached.
        keep_samples: whether anything will be fitted to the samples.
        kept: folder of what was recorded.
        group: processes that share the parts.
        micro_batch: number of samples in a part.
        depth: number of newest computed steps that rows read; None for all.
        subset: elements of each sample that are looked at.
    """

    pipe: Any
    keep_samples: bool
    kept: Parts
    group: ProcessGroup
    micro_batch: int
    depth: int | None
    subset: Subset

    def fitter(
        self, number: int, parts: Sequence[Request], progress: Callable[[int, int], None]
    ) -> SizeFitter:
        """What the fits of one request need.

        Args:
            number: place of the request among those of the calibration.
            parts: parts of the request, of all processes.
            progress: called with (done, of) as each part is there.

        Raises:
            CalibrationError: a part cannot be recorded or kept, or is of another calibration.
        """
        names = [f"{number}-{part:04}.safetensors" for part in range(len(parts))]
        mine, names = self.group.own(parts), list(self.group.own(names))
        recorded: list[_Recorded] = []
        for part, name in zip(mine, names):
            recorded.append(self._read(name) or self._record(part, name))
            done = min(len(recorded) * self.group.size, len(parts))
            progress(done, len(parts))
        together = self._with_motion(recorded, mine, names, len(parts))
        request = Request.joined(mine)
        told = together.motion.tells_outputs
        starts = self.group.own(np.cumsum([0, *map(len, parts[:-1])]).tolist())
        return SizeFitter(
            rolls=Rolls(
                pipe=self.pipe,
                run=lambda: request.run(self.pipe),
                plain=_joined([it.samples for it in recorded]) if self.keep_samples else [],
                motion=together.motion,
                shares=together.shares,
                guided=[] if told or not self.keep_samples else _joined(_guided(recorded)),
                shard=Shard(tuple(map(len, mine)), len(parts), self.group),
                subset=self.subset,
                depth=self.depth,
            ),
            recording=together,
            numbers=torch.cat(
                [start + torch.arange(len(part)) for start, part in zip(starts, mine)]
            ),
            cache=OutputCache(),
        )

    def _read(self, name: str) -> _Recorded | None:
        """A part that was recorded before, with all that is needed of it."""
        found = self.kept.read_arrays(name)
        if found is None:
            return None
        numbers, arrays = found
        needed = TENSORS if self.keep_samples else ()
        older = arrays["products"].shape[-1] <= len(REGRESSORS)
        if older or any(key not in arrays for key in needed):
            return None
        logger.info("calibration: %s was recorded before", name)
        held: dict[str, Any] = {key: arrays[key] for key in ARRAYS} | dict(numbers)
        kept = (torch.from_numpy(arrays.get(key, np.empty(0))) for key in TENSORS)
        return _Recorded(Recording(**held, shares=arrays.get(OF_TWO)), *kept)

    def _record(self, part: Request, name: str) -> _Recorded:
        recording, seen = record(self.pipe, lambda: part.run(self.pipe), len(part), self.subset)
        told = recording.motion.tells_outputs or not self.keep_samples
        recorded = _Recorded(
            recording,
            torch.stack(seen.samples),
            torch.empty(0) if told else torch.stack(seen.guided),
        )
        arrays = {key: getattr(recording, key) for key in ARRAYS}
        if self.keep_samples:
            arrays |= {key: getattr(recorded, key).numpy() for key in TENSORS}
        if recording.shares is not None:
            arrays[OF_TWO] = recording.shares
        numbers = {key: getattr(recording, key) for key in (*COUNTS, *ALIKE)}
        self.kept.write_arrays(name, numbers, arrays)
        return recorded

    def _with_motion(
        self,
        recorded: Sequence[_Recorded],
        mine: Sequence[Request],
        names: Sequence[str],
        parts: int,
    ) -> Recording:
        """The recording of all parts; displaced runs beside it where fits need them."""
        together = _summed([it.recording for it in recorded], parts, self.group)
        if together.motion.is_linear or not self.keep_samples:
            return together
        moved = [self._displaced(*each) for each in zip(recorded, mine, names)]
        return replace(together, displacements=self.group.sum(moved, parts))

    def _displaced(self, recorded: _Recorded, part: Request, name: str) -> np.ndarray:
        """The displacements of a part, seen before or now."""
        name = f"displaced-{name}"
        if found := self.kept.read_arrays(name):
            return found[1]["displacements"]
        plain = list(recorded.samples), list(recorded.whole_guided)
        moved = displacements(self.pipe, lambda: part.run(self.pipe), *plain, self.subset)
        self.kept.write_arrays(name, {}, {"displacements": moved})
        return moved


@dataclass(frozen=True)
class _Recorded:
    """What is kept of one part.

    Attributes:
        recording: its recording.
        samples: x_0 to x_T, `(T + 1, samples, elements)`; empty where nothing will be fitted.
        guided: g_0 to g_{T-1}, likewise; empty where the part's own motion tells them.
    """

    recording: Recording
    samples: Tensor
    guided: Tensor

    @property
    def whole_guided(self) -> Tensor:
        """g_0 to g_{T-1}, kept or told by the motion."""
        if len(self.guided):
            return self.guided
        motion, steps = self.recording.motion, range(self.recording.steps)
        return torch.stack([motion.guided([*self.samples], step).float() for step in steps])


def _guided(recorded: Sequence[_Recorded]) -> list[Tensor]:
    return [it.whole_guided for it in recorded]


def _joined(parts: Sequence[Tensor]) -> list[Tensor]:
    """The tensors of each step, of all parts in one batch."""
    return list(torch.cat(list(parts), dim=1))


def _summed(mine: Sequence[Recording], parts: int, group: ProcessGroup) -> Recording:
    """The recording of all parts of all processes."""
    together = sum(mine[1:], mine[0])  # refuses parts that do not go together
    sums: dict[str, Any] = {
        name: group.sum([np.asarray(getattr(each, name)) for each in mine], parts)
        for name in (*ARRAYS[1:], *COUNTS)
    }
    sums |= {name: int(sums[name]) for name in COUNTS}
    sums |= {name: getattr(together, name) for name in ("times", *ALIKE, OF_TWO)}
    return Recording(**sums)
