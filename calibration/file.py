"""File: a calibration on disk, safetensors with what it is of as JSON in the metadata."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from pydantic import BaseModel, ConfigDict, ValidationError
from safetensors import SafetensorError, safe_open
from safetensors.numpy import save_file

from forecastcache.calibration.identity import Identity
from forecastcache.calibration.recording import Recording
from forecastcache.calibration.sizes import Fit, Size
from forecastcache.errors import CalibrationError
from forecastcache.whole import whole

FORMAT = "forecastcache calibration"
VERSION = 1
ARRAYS = ("times", "gram", "branches", "products")


class Said(BaseModel):
    """What a file says of one size."""

    model_config = ConfigDict(frozen=True, extra="forbid")
    size: str
    prompts: int
    elements: int
    precision: float
    fits: tuple[Fit, ...]


class About(BaseModel):
    """What a file says of itself."""

    model_config = ConfigDict(frozen=True, extra="forbid")
    format: str = FORMAT
    version: int = VERSION
    identity: Identity
    versions: dict[str, str]
    sizes: tuple[Said, ...]

    @classmethod
    def of(cls, identity: Identity, versions: dict[str, str], sizes: Sequence[Size]) -> About:
        """What a file of these is to say."""
        said = [
            Said(
                size=size.name,
                prompts=size.recording.prompts,
                elements=size.recording.elements,
                precision=size.recording.precision,
                fits=size.fits,
            )
            for size in sizes
        ]
        return cls(identity=identity, versions=versions, sizes=tuple(said))


def write(path: Path, about: About, sizes: Sequence[Size]) -> None:
    """Write one file, whole or not at all.

    Raises:
        CalibrationError: it cannot be written.
    """
    arrays = {
        f"{number}.{name}": np.ascontiguousarray(getattr(size.recording, name))
        for number, size in enumerate(sizes)
        for name in ARRAYS
    }
    try:
        with whole(path) as partial:
            save_file(arrays, partial, metadata={"about": about.model_dump_json()})
    except (OSError, SafetensorError) as error:
        raise CalibrationError(f"{path} cannot be written ({error})") from None


def read(path: Path) -> tuple[About, tuple[Size, ...]]:
    """What `write` wrote.

    Raises:
        CalibrationError: it is truncated, foreign or of a newer version.
    """
    try:
        with safe_open(path, "numpy") as file:
            metadata: dict[str, str] = file.metadata() or {}
            arrays: dict[str, Any] = {key: file.get_tensor(key) for key in file.keys()}  # noqa: SIM118
    except (SafetensorError, OSError) as error:
        raise CalibrationError(
            f"{path} is damaged or no safetensors file ({error}): calibrate again"
        ) from None
    about = _about(path, metadata)
    sizes = []
    for number, said in enumerate(about.sizes):
        held: dict[str, Any] = {name: arrays[f"{number}.{name}"] for name in ARRAYS}
        recording = Recording(
            **held, prompts=said.prompts, elements=said.elements, precision=said.precision
        )
        sizes.append(Size(said.size, recording, said.fits))
    return about, tuple(sizes)


def _about(path: Path, metadata: dict[str, str]) -> About:
    try:
        said: dict[str, Any] = json.loads(metadata.get("about", ""))
    except json.JSONDecodeError:
        said = {}
    if said.get("format") != FORMAT:
        raise CalibrationError(
            f"{path} is no calibration: give what forecastcache calibrate wrote"
        )
    if said.get("version", 0) > VERSION:
        raise CalibrationError(
            f"{path} is of version {said['version']}, newer than {VERSION}: upgrade forecastcache"
        )
    try:
        return About.model_validate(said)
    except ValidationError as error:
        raise CalibrationError(
            f"{path} is damaged: {error.errors()[0]['msg']}; calibrate again"
        ) from None
