"""Outputs: where a command is to write is looked at before any long work."""

from __future__ import annotations

import os
from pathlib import Path

from forecastcache import zoo
from forecastcache._util.atomic_write import partial_of
from forecastcache.errors import OptionError


def stem_of(model: str) -> str:
    """What names of files begin with that are of a model."""
    return model.removeprefix(zoo.PREFIX).strip("/").replace("/", "-")


def require_folder(option: str, folder: Path, *names: str) -> None:
    """Refuse a folder in which files of these names cannot be written.

    The folder need not be there yet.

    Raises:
        OptionError: naming what stands in the way.
    """
    nearest = _nearest(option, folder, "give a folder")
    if not nearest.is_dir() or not os.access(nearest, os.W_OK | os.X_OK):
        raise OptionError(
            f"{option} {folder} cannot be written, because of {nearest}: give a folder"
        )
    for name in names:
        require_file(option, folder / name)


def require_file(option: str, path: Path) -> None:
    """Refuse the path of a file that cannot be written in full or not at all.

    Raises:
        OptionError: naming what stands in the way.
    """
    if path.is_dir() or not path.name:
        raise OptionError(f"{option} {path} is a folder: give the name of a file in it")
    _nearest(option, partial_of(path), "give a shorter name")
    require_folder(option, path.parent)


def _nearest(option: str, path: Path, remedy: str) -> Path:
    """The path, or the nearest above it, that is there."""
    for place in (path, *path.absolute().parents):
        try:
            place.stat()
        except (FileNotFoundError, NotADirectoryError):
            continue
        except OSError as error:
            raise OptionError(f"{option} cannot be used ({error.strerror}): {remedy}") from None
        return place
    return Path(path.absolute().anchor)
