"""IO: a calibration on disk, one sealed file.

Version 2 has a seal and the fingerprint of the weights; without them a damaged file cannot be
told from a whole one, so files of version 1 are not read.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Any

import numpy as np
from pydantic import (
    BaseModel,
    ConfigDict,
    Field,
    FiniteFloat,
    ValidationError,
    ValidationInfo,
    field_validator,
)
from safetensors import SafetensorError

from forecastcache._util.atomic_write import atomic_write
from forecastcache.calibration.fits import Fit, SizeFits
from forecastcache.calibration.identity import Identity, as_seen
from forecastcache.calibration.plausible import ARRAYS, NOT_IN_ALL, complaint
from forecastcache.calibration.recording import Recording
from forecastcache.calibration.sealed import (
    SEAL,
    DamagedError,
    is_sealed,
    read_arrays,
    write_arrays,
)
from forecastcache.errors import CalibrationError

FORMAT = "forecastcache calibration"
VERSION = 2
LONGEST_HEADER = 1 << 24  # bytes


class SizeHeader(BaseModel):
    """Header of one size: what its arrays do not hold."""

    model_config = ConfigDict(frozen=True, extra="forbid")
    size: str
    prompts: Annotated[int, Field(gt=0)]
    elements: Annotated[int, Field(gt=0)]
    precision: Annotated[float, Field(ge=0, allow_inf_nan=False)]
    sample_elements: Annotated[int, Field(gt=0)] | None = None
    fits: tuple[Fit, ...]
    guidance: FiniteFloat | None = None


class Header(BaseModel):
    """Header of a calibration file."""

    model_config = ConfigDict(frozen=True, extra="forbid")
    format: str = FORMAT
    version: int = VERSION
    identity: Identity
    versions: dict[str, str]
    sizes: Annotated[tuple[SizeHeader, ...], Field(min_length=1)]

    @field_validator("sizes")
    @classmethod
    def _of_the_scales(
        cls, sizes: tuple[SizeHeader, ...], info: ValidationInfo
    ) -> tuple[SizeHeader, ...]:
        told = info.data["identity"].scales if "identity" in info.data else ()
        if tuple(size.guidance for size in sizes) != (told or (None,) * len(sizes)):
            raise ValueError("their guidance is not that of the identity")
        if len({as_seen(scale) for scale in told}) < len(told):
            raise ValueError("two are of the same guidance")
        return sizes

    @classmethod
    def of(cls, identity: Identity, versions: dict[str, str], sizes: Sequence[SizeFits]) -> Header:
        """Header of a calibration file of these sizes."""
        headers = [
            SizeHeader(
                size=size.name,
                prompts=size.recording.prompts,
                elements=size.recording.elements,
                precision=size.recording.precision,
                sample_elements=size.recording.sample_elements,
                fits=size.fits,
                guidance=size.guidance,
            )
            for size in sizes
        ]
        return cls(identity=identity, versions=versions, sizes=tuple(headers))


def write_file(path: Path, header: Header, sizes: Sequence[SizeFits]) -> None:
    """Write one file, in full or not at all.

    Raises:
        CalibrationError: it cannot be written, or could not be read again.
    """
    arrays = {
        f"{number}.{name}": np.asarray(array)
        for number, size in enumerate(sizes)
        for name in (*ARRAYS, *NOT_IN_ALL)
        if (array := getattr(size.recording, name)) is not None
    }
    wrong = complaint(arrays, [size.fits for size in sizes], header.identity.steps)
    if wrong:
        raise CalibrationError(f"what was calibrated cannot be: {wrong}; calibrate again")
    try:
        with atomic_write(path) as partial:
            write_arrays(partial, header.model_dump(mode="json"), arrays)
    except (OSError, SafetensorError) as error:
        raise CalibrationError(f"{path} cannot be written ({error})") from None


def read_file(path: Path) -> tuple[Header, tuple[SizeFits, ...]]:
    """The header and sizes that `write_file` wrote.

    Raises:
        CalibrationError: it is damaged, foreign, or of another version.
    """
    try:
        said, arrays = read_arrays(path)
    except DamagedError as error:
        raise CalibrationError(
            f"{path} is damaged or no safetensors file ({error}): calibrate again"
        ) from None
    header = _header(path, said)
    wrong = complaint(arrays, [size.fits for size in header.sizes], header.identity.steps)
    if not wrong and not is_sealed(said, arrays):
        wrong = "its content is not what its SHA-256 says"
    if wrong:
        raise CalibrationError(f"{path} is damaged: {wrong}; calibrate again")
    sizes = []
    for number, each in enumerate(header.sizes):
        names = (*ARRAYS, *NOT_IN_ALL)
        held: dict[str, Any] = {name: arrays.get(f"{number}.{name}") for name in names}
        recording = Recording(**held, **each.model_dump(exclude={"size", "fits", "guidance"}))
        sizes.append(SizeFits(each.size, recording, each.fits, each.guidance))
    return header, tuple(sizes)


def require_replaceable(path: Path) -> None:
    """Refuse to write over a file that is no calibration.

    Raises:
        CalibrationError: it is none.
    """
    if not path.is_file():
        return
    with path.open("rb") as file:
        start = file.read(LONGEST_HEADER)
    if start and FORMAT.encode() not in start:
        raise CalibrationError(
            f"{path} is there already, and is no calibration: give another --out"
        )


def _header(path: Path, said: Any) -> Header:
    if not isinstance(said, dict) or said.get("format") != FORMAT:
        raise CalibrationError(
            f"{path} is no calibration: give what forecastcache calibrate wrote"
        )
    _require_version(path, said.get("version"))
    try:
        return Header.model_validate({key: it for key, it in said.items() if key != SEAL})
    except ValidationError as error:
        first = error.errors()[0]
        place = ".".join(map(str, first["loc"]))
        raise CalibrationError(
            f"{path} is damaged: {place} in its header: {first['msg']}; calibrate again"
        ) from None


def _require_version(path: Path, version: Any) -> None:
    if not isinstance(version, int) or isinstance(version, bool):
        raise CalibrationError(
            f"{path} is damaged: version in its header is {str(version)[:40]!r}, not a number; "
            "calibrate again"
        )
    if version > VERSION:
        raise CalibrationError(
            f"{path} is of version {version}, newer than {VERSION}: upgrade forecastcache"
        )
    if version < VERSION:
        raise CalibrationError(
            f"{path} is of version {version}, which cannot tell that it is whole: calibrate again"
        )
