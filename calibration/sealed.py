"""Sealed files: what a calibration keeps on disk, with a SHA-256 of its content.

A file is safetensors with a JSON object in its metadata, or that JSON object alone. The object
holds the digest of everything else, so a file with one bit changed is told from a whole one.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from hashlib import sha256
from pathlib import Path
from typing import Any

import numpy as np
from safetensors import SafetensorError, safe_open
from safetensors.numpy import save_file

from forecastcache.errors import ForecastCacheError

HEADER = "about"  # key of the metadata
SEAL = "sha256"  # key of the object
Arrays = Mapping[str, np.ndarray]


class DamagedError(ForecastCacheError):
    """A file cannot be read, or is not as it was written."""


def seal(header: Mapping[str, Any], arrays: Arrays) -> str:
    """SHA-256 of a header, its seal left out, and of arrays with their names and shapes."""
    kept = {key: value for key, value in header.items() if key != SEAL}
    found = sha256(json.dumps(kept, sort_keys=True).encode())
    for name in sorted(arrays):
        array = np.asarray(arrays[name], order="C")
        found.update(f"\n{name} {array.dtype.str} {array.shape}\n".encode())
        found.update(array.tobytes())
    return found.hexdigest()


def is_sealed(header: Mapping[str, Any], arrays: Arrays) -> bool:
    """Whether both are as they were written."""
    return header.get(SEAL) == seal(header, arrays)


def write_arrays(path: Path, header: Mapping[str, Any], arrays: Arrays) -> None:
    """Write a safetensors file.

    Args:
        path: path of the file.
        header: JSON object.
        arrays: arrays by name.

    Raises:
        OSError, SafetensorError: it cannot be written.
    """
    whole = {name: np.asarray(array, order="C") for name, array in arrays.items()}
    text = json.dumps({**header, SEAL: seal(header, whole)}, separators=(",", ":"))
    save_file(whole, path, metadata={HEADER: text})


def read_arrays(path: Path) -> tuple[Any, dict[str, np.ndarray]]:
    """The JSON value in a safetensors file, None if there is none, and the arrays.

    The seal is not looked at: a caller may say what is wrong in words of its own first.

    Raises:
        DamagedError: it is no safetensors file, or holds what numpy has no dtype for.
    """
    try:
        with safe_open(path, "numpy") as file:
            metadata: dict[str, str] = file.metadata() or {}
            arrays = {name: _array(file, name) for name in file.keys()}  # noqa: SIM118
    except (SafetensorError, OSError) as error:
        raise DamagedError(str(error)) from None
    return parsed(metadata.get(HEADER, "")), arrays


def _array(file: Any, name: str) -> np.ndarray:
    try:
        array: np.ndarray = file.get_tensor(name)
    except (TypeError, AttributeError):
        dtype = file.get_slice(name).get_dtype()
        raise DamagedError(f"{name} is in {dtype}, which no calibration holds") from None
    return array


def write_json(path: Path, header: Mapping[str, Any]) -> None:
    """Write a JSON object with its seal.

    Raises:
        OSError: it cannot be written.
    """
    path.write_text(json.dumps({**header, SEAL: seal(header, {})}), encoding="utf-8")


def read_json(path: Path) -> Any:
    """The JSON value of a file, None if it has none; its seal is not looked at.

    Raises:
        DamagedError: it cannot be read.
    """
    try:
        return parsed(path.read_text(encoding="utf-8"))
    except (OSError, UnicodeError) as error:
        raise DamagedError(str(error)) from None


def parsed(text: str) -> Any:
    """The value of a JSON text; None if it is none."""
    try:
        return json.loads(text)
    except (ValueError, RecursionError):
        return None
