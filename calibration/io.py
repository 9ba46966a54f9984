"""IO: a calibration on disk, safetensors with a JSON header in the metadata."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from pydantic import BaseModel, ConfigDict, ValidationError
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
    prompts: int
    elements: int
    precision: float
    fits: tuple[Fit, ...]


class Header(BaseModel):
    """Header of a calibration file."""

    model_config = ConfigDict(frozen=True, extra="forbid")
    format: str = FORMAT
    version: int = VERSION
    identity: Identity
    versions: dict[str, str]
    sizes: tuple[SizeHeader, ...]

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
    """The header and sizes that `write` wrote.

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
    header = _header(path, metadata)
    needed = {f"{number}.{name}" for number in range(len(header.sizes)) for name in ARRAYS}
    if not header.sizes or not needed <= arrays.keys():
        raise CalibrationError(f"{path} is damaged: it lacks arrays; calibrate again")
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
        raise CalibrationError(
            f"{path} is damaged: {error.errors()[0]['msg']}; calibrate again"
        ) from None
