"""Source: where a pipeline that is asked for by name lies."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from forecastcache import zoo
from forecastcache.errors import UnknownNameError


def source_of(model: str, known: Sequence[str] = ()) -> str:
    """The folder or hub id that diffusers loads `model` from.

    Args:
        model: zoo name, folder or hub id.
        known: other names that would have been understood, for the error to list.

    Raises:
        UnknownNameError: nothing is called so.
    """
    if model.startswith(zoo.PREFIX):
        return str(zoo.folder(model))
    if Path(model).is_dir():
        return model
    if model.count("/") != 1 or model.startswith(("/", ".", "~")):
        names = [*known, *(zoo.PREFIX + name for name in zoo.MODELS)]
        listed = ("one of " if len(names) > 1 else "") + ", ".join(names)
        raise UnknownNameError(
            f"no model is called {model!r}: write {listed}, a folder or a hub id (owner/name)"
        )
    return model
