"""Request recorder: the recordings of one request, part by part, each made now or before."""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor

from forecastcache.calibration.distributed import ProcessGroup, Shard
from forecastcache.calibration.fit import SizeFitter
from forecastcache.calibration.output_cache import OutputCache
from forecastcache.calibration.part_files import Parts
from forecastcache.calibration.plausible import ARRAYS
from forecastcache.calibration.recording import Recording, record
from forecastcache.calibration.rolling import Rolls
from forecastcache.calibration.subset import Subset
from forecastcache.sampling.request import Request

logger = logging.getLogger("forecastcache")
COUNTS = ("prompts", "elements")
ALIKE = ("precision", "sample_elements")


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
        mine = self.group.own(parts)
        recordings, plain = [], []
        for part, name in zip(mine, self.group.own(names)):
            recording, samples = self._read(name) or self._record(part, name)
            recordings.append(recording)
            plain.append(samples)
            done = min(len(recordings) * self.group.size, len(parts))
            progress(done, len(parts))
        request, together = Request.joined(mine), _summed(recordings, len(parts), self.group)
        starts = self.group.own(np.cumsum([0, *map(len, parts[:-1])]).tolist())
        return SizeFitter(
            rolls=Rolls(
                pipe=self.pipe,
                run=lambda: request.run(self.pipe),
                plain=list(torch.cat(plain, dim=1)) if self.keep_samples else [],
                motion=together.motion,
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

    def _read(self, name: str) -> tuple[Recording, Tensor] | None:
        """A part that was recorded before, with all that is needed of it."""
        found = self.kept.read_arrays(name)
        if found is None:
            return None
        numbers, arrays = found
        if self.keep_samples and "samples" not in arrays:
            return None
        logger.info("calibration: %s was recorded before", name)
        held: dict[str, Any] = {key: arrays[key] for key in ARRAYS} | dict(numbers)
        return Recording(**held), torch.from_numpy(arrays.get("samples", np.empty(0)))

    def _record(self, part: Request, name: str) -> tuple[Recording, Tensor]:
        recording, each = record(self.pipe, lambda: part.run(self.pipe), len(part), self.subset)
        samples = torch.stack(each)
        arrays = {key: getattr(recording, key) for key in ARRAYS}
        if self.keep_samples:
            arrays["samples"] = samples.numpy()
        numbers = {key: getattr(recording, key) for key in (*COUNTS, *ALIKE)}
        self.kept.write_arrays(name, numbers, arrays)
        return recording, samples


def _summed(mine: Sequence[Recording], parts: int, group: ProcessGroup) -> Recording:
    """The recording of all parts of all processes."""
    together = sum(mine[1:], mine[0])  # refuses parts that do not go together
    sums: dict[str, Any] = {
        name: group.sum([np.asarray(getattr(each, name)) for each in mine], parts)
        for name in (*ARRAYS[1:], *COUNTS)
    }
    sums |= {name: int(sums[name]) for name in COUNTS}
    sums |= {name: getattr(together, name) for name in ("times", *ALIKE)}
    return Recording(**sums)
