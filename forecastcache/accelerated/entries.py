"""Entries: what is kept, file by file, to be looked at and removed."""

from __future__ import annotations

import json
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from forecastcache.accelerated.kept import ASIDE, ENDING, Kept, facts_path
from forecastcache.calibration.calibration import Calibration
from forecastcache.errors import CalibrationError, UnknownNameError


@dataclass(frozen=True)
class Entry:
    """One kept file.

    Attributes:
        path: path of the file.
        bytes: size of the file in bytes.
        age_seconds: seconds since it was written.
        facts: facts of the scope that it is of, by name; empty where they were not kept.
        calibration: its content; None where it cannot be used.
        reason: why it cannot be used; None where it can.
    """

    path: Path
    bytes: int
    age_seconds: float
    facts: Mapping[str, Any]
    calibration: Calibration | None
    reason: str | None

    @classmethod
    def of(cls, path: Path) -> Entry:
        """The entry of a file, whatever is in it.

        Raises:
            OSError: the file is gone.
        """
        stat, calibration, reason = path.stat(), None, None
        try:
            calibration = Calibration.load(path)
        except (CalibrationError, OSError) as error:
            reason = str(error)
        if path.name.endswith(ASIDE):
            reason = "it was set aside" + (f" ({reason})" if reason else "")
        age = max(0.0, time.time() - stat.st_mtime)
        return cls(path, stat.st_size, age, _facts(path), calibration, reason)

    @property
    def name(self) -> str:
        """The name of the file without its ending; what was set aside keeps its ending."""
        return self.path.name.removesuffix(ENDING)

    @property
    def pipeline(self) -> str:
        """The class of the pipeline, or of the model where that alone is known."""
        model = self.calibration.identity.model.name if self.calibration else "unknown"
        return str(self.facts.get("pipeline", model))

    @property
    def steps(self) -> int | None:
        """The number of steps of a trajectory; None where it is not known."""
        return None if self.calibration is None else self.calibration.identity.steps

    @property
    def guidance(self) -> float | None:
        """The guidance scale; None for the pipeline's own, or where it is not known."""
        if self.calibration is not None and self.calibration.identity.guidance is not None:
            return self.calibration.identity.guidance
        scale = self.facts.get("guidance_scale")
        return float(scale) if isinstance(scale, (int, float)) else None

    @property
    def size(self) -> str | None:
        """The size of the samples; None where it is not known."""
        return None if self.calibration is None else self.calibration.sizes[0].name

    def figures(self) -> dict[str, Any]:
        """What a list shows of it, ready for JSON."""
        fits = () if self.calibration is None else self.calibration.fits
        return {
            "name": self.name,
            "file": str(self.path),
            "pipeline": self.pipeline,
            "steps": self.steps,
            "guidance": self.guidance,
            "size": self.size,
            "fits": [
                {"count": len(fit.computed), "latent_psnr_db": fit.latent_psnr_db} for fit in fits
            ],
            "bytes": self.bytes,
            "age_seconds": self.age_seconds,
            "unusable": self.reason,
        }


def entries(folder: Path) -> list[Entry]:
    """Every kept file of a folder, by name."""
    found = []
    for path in Kept(folder).files():
        try:
            found.append(Entry.of(path))
        except OSError:  # another process has just removed it
            continue
    return found


def entry_called(folder: Path, name: str) -> Entry:
    """The entry of this name, with or without the file's ending.

    Raises:
        UnknownNameError: there is none; it lists those there are.
    """
    known = {it.name: it for it in entries(folder)}
    found = known.get(name.removesuffix(ENDING))
    if found is None:
        there = f"write one of {', '.join(known)}" if known else "nothing is kept there"
        raise UnknownNameError(f"{folder} keeps nothing called {name}: {there}")
    return found


def remove(found: Entry) -> None:
    """Remove the file of an entry, and the facts beside it unless another file is of them.

    Raises:
        OSError: it cannot be removed.
    """
    found.path.unlink(missing_ok=True)
    facts = facts_path(found.path)
    usable = facts.with_suffix(ENDING)
    others = (usable, usable.with_name(usable.name + ASIDE))
    if not any(path.exists() for path in others):
        facts.unlink(missing_ok=True)


def _facts(path: Path) -> dict[str, Any]:
    try:
        found = json.loads(facts_path(path).read_text("utf-8"))
    except (OSError, ValueError):
        return {}
    return found if isinstance(found, dict) else {}
