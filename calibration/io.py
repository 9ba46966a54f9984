"""IO: a calibration on disk, safetensors with a JSON header in the metadata."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any

import numpy as np
from pydantic import BaseModel, ConfigDict, Field, ValidationError
from safetensors import SafetensorError, safe_open
from safetensors.numpy import save_file

from forecastcache._util.atomic_write import atomic_write
from forecastcache.calibration.fits import Fit, SizeFits
from forecastcache.calibration.identity import Identity
from forecastcache.calibration.recording import Recording
from forecastcache.errors import CalibrationError

FORMAT = "forecastcache calibration"
VERSION = 1
HEADER = "about"  # key of the metadata
ARRAYS = ("times", "gram", "branches", "products")


class SizeHeader(BaseModel):
    """Header of one size: what its arrays do not hold."""

    model_config = ConfigDict(frozen=True, extra="forbid")
    size: str
    prompts: Annotated[int, Field(gt=0)]
    elements: Annotated[int, Field(gt=0)]
    precision: float
    fits: tuple[Fit, ...]


class Header(BaseModel):
    """Header of a calibration file."""

    model_config = ConfigDict(frozen=True, extra="forbid")
    format: str = FORMAT
    version: int = VERSION
    identity: Identity
    versions: dict[str, str]
    sizes: Annotated[tuple[SizeHeader, ...], Field(min_length=1)]

    @classmethod
    def of(cls, identity: Identity, versions: dict[str, str], sizes: Sequence[SizeFits]) -> Header:
        """Header of a calibration file of these sizes."""
        headers = [
            SizeHeader(
                size=size.name,
                prompts=size.recording.prompts,
                elements=size.recording.elements,
                precision=size.recording.precision,
                fits=size.fits,
            )
            for size in sizes
        ]
        return cls(identity=identity, versions=versions, sizes=tuple(headers))


def write_file(path: Path, header: Header, sizes: Sequence[SizeFits]) -> None:
    """Write one file, in full or not at all.

    Raises:
        CalibrationError: it cannot be written.
    """
    arrays = {
        f"{number}.{name}": np.ascontiguousarray(getattr(size.recording, name))
        for number, size in enumerate(sizes)
        for name in ARRAYS
    }
    try:
        with atomic_write(path) as partial:
            save_file(arrays, partial, metadata={HEADER: header.model_dump_json()})
    except (OSError, SafetensorError) as error:
        raise CalibrationError(f"{path} cannot be written ({error})") from None


def read_file(path: Path) -> tuple[Header, tuple[SizeFits, ...]]:
    """The header and sizes that `write_file` wrote.

    Raises:
        CalibrationError: it is damaged, foreign or of a newer version.
    """
    try:
        with safe_open(path, "numpy") as file:
            metadata: dict[str, str] = file.metadata() or {}
            arrays: dict[str, Any] = {key: file.get_tensor(key) for key in file.keys()}  # noqa: SIM118
    except (SafetensorError, OSError, TypeError) as error:  # a dtype that numpy has not
        raise CalibrationError(
            f"{path} is damaged or no safetensors file ({error}): calibrate again"
        ) from None
    header = _header(path, metadata)
    complaint = _complaint(header, arrays)
    if complaint:
        raise CalibrationError(f"{path} is damaged: {complaint}; calibrate again")
    sizes = []
    for number, each in enumerate(header.sizes):
        held: dict[str, Any] = {name: arrays[f"{number}.{name}"] for name in ARRAYS}
        recording = Recording(
            **held, prompts=each.prompts, elements=each.elements, precision=each.precision
        )
        sizes.append(SizeFits(each.size, recording, each.fits))
    return header, tuple(sizes)


def _header(path: Path, metadata: dict[str, str]) -> Header:
    try:
        said: Any = json.loads(metadata.get(HEADER, ""))
    except json.JSONDecodeError:
        said = None
    if not isinstance(said, dict) or said.get("format") != FORMAT:
        raise CalibrationError(
            f"{path} is no calibration: give what forecastcache calibrate wrote"
        )
    version = said.get("version", 0)
    if isinstance(version, int) and version > VERSION:
        raise CalibrationError(
            f"{path} is of version {version}, newer than {VERSION}: upgrade forecastcache"
        )
    try:
        return Header.model_validate(said)
    except ValidationError as error:
        first = error.errors()[0]
        place = ".".join(map(str, first["loc"]))
        raise CalibrationError(
            f"{path} is damaged: {place} in its header: {first['msg']}; calibrate again"
        ) from None


def _complaint(header: Header, arrays: Mapping[str, np.ndarray]) -> str | None:
    """What is wrong with the arrays of a file with this header; None if nothing is."""
    keys = [f"{number}.{name}" for number in range(len(header.sizes)) for name in ARRAYS]
    lacking = [key for key in keys if key not in arrays]
    if lacking:
        return f"it lacks {', '.join(lacking)}"
    steps = header.identity.steps
    for key in keys:
        array = arrays[key]
        if not array.size or array.shape != _shape(key, array, steps):
            return f"{key} has the shape {array.shape}, but its header says {steps} steps"
        if not np.isfinite(array).all():
            return f"{key} holds NaN or infinity"
    return None


def _shape(key: str, array: np.ndarray, steps: int) -> tuple[int, ...]:
    """The shape that an array of so many steps has, with as many branches as it holds."""
    return {
        "times": (steps,),
        "gram": (steps, steps),
        "branches": (*array.shape[:1], steps, steps),
        "products": (steps, 3, 3),
    }[key.partition(".")[2]]
