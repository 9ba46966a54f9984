"""The error boundary: what ends a command becomes one line that names the remedy."""

from __future__ import annotations

import errno
import os
from typing import Any

from forecastcache._util.out_of_memory import is_out_of_memory
from forecastcache.bounds import shortened
from forecastcache.errors import ForecastCacheError

LONGEST = 2000  # letters of a line
# What a user can do about an error of the operating system, by its number.
REMEDIES = {
    errno.ENOSPC: "free space, or give a place on another disk",
    errno.EDQUOT: "free space, or give a place on another disk",
    errno.EACCES: "give a place that you may read and write",
    errno.EPERM: "give a place that you may read and write",
    errno.EROFS: "give a place that can be written",
    errno.ENAMETOOLONG: "give a shorter name",
    errno.EISDIR: "give the name of a file",
    errno.ENOTDIR: "give a folder that can be made",
    errno.EMFILE: "let this user open more files (ulimit -n)",
}


def in_one_line(error: BaseException) -> str | None:
    """What a user is told of an error; None for one that only a mistake in the program raises."""
    said = _said(error)
    return None if said is None else shortened(" ".join(said.split()), LONGEST)


def _said(error: BaseException) -> str | None:
    if isinstance(error, ForecastCacheError):
        return str(error)
    # A mistake in the arguments; typer's own classes for it moved between its versions.
    if hasattr(error, "format_message"):
        return _of_the_arguments(error)
    if is_out_of_memory(error):
        return (
            "memory ran out: ask for a smaller --size, --count or --micro-batch, or for another "
            "--dtype"
        )
    if isinstance(error, RecursionError):
        return "what was given is nested too deep: write it flatter"
    if isinstance(error, UnicodeError):
        return f"a text is not UTF-8 ({getattr(error, 'reason', error)}): write UTF-8"
    if isinstance(error, OverflowError):
        return f"a number is too large ({error}): write a smaller one"
    return _of_the_system(error) if isinstance(error, OSError) else None


def _of_the_arguments(error: Any) -> str:
    said, context = str(error.format_message()), getattr(error, "ctx", None)
    if context is None:
        return said
    missing = getattr(error, "param", None)
    if type(error).__name__ == "MissingParameter" and missing is not None:
        argument = missing.param_type_name == "argument"
        name = missing.metavar or missing.name.upper() if argument else missing.opts[0]
        said = f"{name} is missing"
    return f"{said.removesuffix('.')}: {context.command_path} --help shows what to write"


def _of_the_system(error: OSError) -> str:
    where = "" if error.filename is None else f"{os.fsdecode(error.filename)}: "
    reason = error.strerror or str(error) or type(error).__name__
    remedy = REMEDIES.get(error.errno or 0, "check paths, disk and network, and try again")
    return f"{where}{reason}: {remedy}"
