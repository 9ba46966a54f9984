"""forecastcache cache: what was learned and kept, to be looked at and cleared."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

from forecastcache._util.decibels import format_decibels
from forecastcache.cli.console import print_calibration
from forecastcache.cli.narrow import print_rows
from forecastcache.cli.options import JsonOption
from forecastcache.cli.panels import argument, what
from forecastcache.errors import OptionError, UnknownNameError

if TYPE_CHECKING:
    from forecastcache.accelerated.entries import Entry

ACTIONS = ("list", "show", "clear")
UNITS = (("day", 86_400), ("hour", 3_600), ("minute", 60))
TITLES = (
    "name", "pipeline", "steps", "guidance", "size", "computed: latent PSNR, rolled", "bytes",
    "age",
)  # fmt: skip

ActionArgument = Annotated[
    str,
    argument(
        help="What to do: list what is kept, show one in full, or clear.",
        autocompletion=lambda: list(ACTIONS),
    ),
]
NameArgument = Annotated[
    str | None, argument(help="A name that `forecastcache cache list` prints.")
]
FolderOption = Annotated[
    Path | None,
    what(
        metavar="FOLDER",
        help="Folder to look at. Left out, that of FORECASTCACHE_HOME, or the user's cache.",
    ),
]


def cache_command(
    action: ActionArgument,
    name: NameArgument = None,
    folder: FolderOption = None,
    as_json: JsonOption = False,
) -> None:
    """Show what accelerated pipelines have learned and kept, or remove it."""
    if action not in ACTIONS:
        raise UnknownNameError(f"cache {action} is not known: write one of {', '.join(ACTIONS)}")
    if action == "list" and name is not None:
        raise OptionError(f"cache list takes no name: write cache show {name}")
    if action == "show" and name is None:
        raise OptionError("cache show needs a name: write one that cache list prints")
    # Imported here: diffusers takes seconds that a refused option need not wait for.
    from forecastcache.accelerated.entries import entries, entry_called
    from forecastcache.accelerated.kept import home

    place = home() if folder is None else folder
    found = entries(place) if name is None else [entry_called(place, name)]
    if action == "list":
        _list(place, found, as_json)
    elif action == "show":
        _show(found[0], as_json)
    else:
        _clear(place, found, as_json)


def _list(folder: Path, found: Sequence[Entry], as_json: bool) -> None:
    figures = [it.figures() for it in found]
    if as_json:
        print(json.dumps({"folder": str(folder), "kept": figures}, indent=2))
        return
    if not found:
        print(f"nothing is kept in {folder}")
        return
    print_rows(TITLES, [_cells(it) for it in found])
    for it in found:
        if it.reason is not None:
            print(f"{it.name} cannot be used: {it.reason}")
    print(folder)


def _cells(found: Entry) -> list[str]:
    known = [found.steps, found.guidance, found.size]
    fits = found.calibration.fits if found.calibration else ()
    rolled = ", ".join(
        f"{len(fit.computed)}: "
        + ("unjudged" if fit.latent_psnr_db is None else format_decibels(fit.latent_psnr_db))
        for fit in fits
    )
    return [
        found.name,
        found.pipeline,
        *("" if it is None else f"{it:g}" if isinstance(it, float) else str(it) for it in known),
        rolled if found.reason is None else "cannot be used",
        f"{found.bytes:,}",
        _age(found.age_seconds),
    ]


def _show(found: Entry, as_json: bool) -> None:
    learned = {} if found.calibration is None else found.calibration.figures()
    if as_json:
        shown = {**found.figures(), "scope": dict(found.facts), "calibration": learned or None}
        print(json.dumps(shown, indent=2))
        return
    print(f"{found.name}: {found.bytes:,} bytes, {_age(found.age_seconds)} old")
    if found.reason is not None:
        print(f"it cannot be used: {found.reason}")
    for fact, value in found.facts.items():
        print(f"{fact}: {value}")
    if learned:
        print_calibration(learned)
    print(found.path)


def _clear(folder: Path, found: Sequence[Entry], as_json: bool) -> None:
    from forecastcache.accelerated.entries import remove

    for it in found:
        remove(it)
    freed = sum(it.bytes for it in found)
    if as_json:
        removed = [it.name for it in found]
        print(json.dumps({"folder": str(folder), "removed": removed, "bytes": freed}, indent=2))
        return
    for it in found:
        print(f"removed {it.name}, {it.bytes:,} bytes")
    if not found:
        print(f"nothing is kept in {folder}")


def _age(seconds: float) -> str:
    for unit, length in UNITS:
        count = int(seconds // length)
        if count:
            return f"{count} {unit}{'s' * (count > 1)}"
    return "under a minute"
