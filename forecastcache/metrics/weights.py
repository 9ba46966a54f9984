"""Weights of a metric in a folder: found by name, read without running anything in them."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from forecastcache._util.fingerprint import digest
from forecastcache.errors import OptionError


def weights_file(place: Path, patterns: Sequence[str], needs: str) -> Path:
    """The file of weights that `place` is, or that lies in it.

    Args:
        place: a file or a folder.
        patterns: patterns of the file's name, the best first.
        needs: what is looked for, for the error.

    Raises:
        OptionError: there is none.
    """
    if place.is_file():
        return place
    if not place.is_dir():
        raise OptionError(f"{place} is neither a file nor a folder: give one with {needs}")
    found = next((path for it in patterns for path in sorted(place.glob(it))), None)
    if found is None:
        raise OptionError(f"{place} has no {' or '.join(patterns)}: put {needs} there")
    return found


def read_weights(path: Path) -> dict[str, Tensor]:
    """The tensors of a .safetensors file, or of a .pth file, of which only tensors are read.

    Raises:
        OptionError: it holds something else, or is damaged.
    """
    try:
        if path.suffix == ".safetensors":
            from safetensors.torch import load_file

            return load_file(path)
        found = torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:  # each kind of file is damaged in its own way
        said = (str(error).strip().splitlines() or [""])[0]
        raise OptionError(
            f"{path} cannot be read as weights ({type(error).__name__}: {said}): give a state "
            "dict in .safetensors or .pth"
        ) from error
    if not isinstance(found, dict):
        raise OptionError(f"{path} holds no state dict: give one in .safetensors or .pth")
    return found


def fingerprint_of_files(place: Any) -> str:
    """A short name of the files in a folder, by their names, sizes and dates."""
    if not isinstance(place, Path):
        return ""
    paths = [place] if place.is_file() else sorted(place.rglob("*"))
    facts = [(path.name, path.stat()) for path in paths if path.is_file()]
    return digest(repr([(name, stat.st_size, stat.st_mtime_ns) for name, stat in facts]))
