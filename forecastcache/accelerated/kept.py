"""Kept: what was learned, in a folder that the next process finds."""

from __future__ import annotations

import json
import os
import re
import time
import warnings
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path

from forecastcache._util.atomic_write import atomic_write
from forecastcache._util.lock import LockedError, locked
from forecastcache.accelerated.scope import Scope
from forecastcache.calibration.calibration import Calibration
from forecastcache.errors import CalibrationError, ForecastCacheWarning

HOME = "FORECASTCACHE_HOME"
ENDING = ".safetensors"
ASIDE = ".set-aside"
FACTS = ".json"
LOCK = ".lock"
TURNS, TURN_SECONDS = 200, 0.05  # for how long one process waits for others
OURS = re.compile(rf"\w+-[0-9a-f]{{12}}{re.escape(ENDING)}({re.escape(ASIDE)})?")


def home() -> Path:
    """The folder: `FORECASTCACHE_HOME`, or where this system's programs keep such things."""
    from platformdirs import user_cache_dir

    return Path(os.environ.get(HOME) or user_cache_dir("forecastcache", appauthor=False))


class Kept:
    """Calibrations by the scope that they are of.

    Args:
        folder: folder of the files; made when the first is kept.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._writable = True

    def path(self, scope: Scope) -> Path:
        """Where the calibration of a scope is kept."""
        return self.folder / f"{scope.name}{ENDING}"

    def get(self, scope: Scope, serves: Callable[[Calibration], bool]) -> Calibration | None:
        """The calibration of a scope; None where there is none.

        What is damaged, or of something else, is set aside.

        Args:
            scope: the scope.
            serves: function that says whether a calibration is of the scope.
        """
        path = self.path(scope)
        try:
            if not path.exists():
                return None
        except OSError:  # no such folder can be, as is told when something is to be kept
            return None
        try:
            found = Calibration.load(path)
            if not serves(found):
                raise CalibrationError(f"{path} is of another model or scheduler")
        except (CalibrationError, OSError) as error:
            _set_aside(path, error)
            return None
        return found

    def put(self, scope: Scope, calibration: Calibration) -> None:
        """Keep a calibration, in full or not at all; where that cannot be, say so once.

        What another process has kept of the same scope meanwhile is kept too.
        """
        if not self._writable:
            return
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
            with _alone(self.path(scope)):
                _with_others(self.path(scope), calibration).save(self.path(scope))
                with atomic_write(facts_path(self.path(scope))) as partial:
                    partial.write_text(json.dumps(dict(scope.facts)), "utf-8")
        except (CalibrationError, OSError) as error:
            self._writable = False
            warnings.warn(
                f"what was learned is not kept ({error}): set {HOME} to a folder that can be "
                "written, or it is learned again in the next process",
                ForecastCacheWarning,
                stacklevel=2,
            )

    def files(self) -> Iterator[Path]:
        """The calibrations that are kept, set-aside ones too, by their names."""
        try:
            found = sorted(self.folder.iterdir())
        except OSError:
            return
        yield from (it for it in found if OURS.fullmatch(it.name))


def facts_path(path: Path) -> Path:
    """Where the facts of the scope of a kept calibration are, which its header does not hold."""
    return path.with_name(path.name.partition(ENDING)[0] + FACTS)


@contextmanager
def _alone(path: Path) -> Iterator[None]:
    """Wait while another process writes a file; not for ever, since all it costs is its fits."""
    with ExitStack() as held:
        for _ in range(TURNS):
            with suppress(LockedError):
                held.enter_context(locked(path.with_name(path.name + LOCK)))
                break
            time.sleep(TURN_SECONDS)
        yield


def _with_others(path: Path, calibration: Calibration) -> Calibration:
    """A calibration with the fits of a file of the same scope, at steps that it has none of."""
    try:
        others = Calibration.load(path).fits if path.exists() else ()
    except (CalibrationError, OSError):
        return calibration
    known = {fit.computed for fit in calibration.fits}
    return calibration.with_fits([fit for fit in others if fit.computed not in known])


def _set_aside(path: Path, error: Exception) -> None:
    aside = path.with_name(path.name + ASIDE)
    try:
        os.replace(path, aside)
        where = f"it is now {aside.name}"
    except OSError:
        where = "it is left where it is"
    warnings.warn(
        f"what was kept cannot be used ({error}); {where}, and is learned again",
        ForecastCacheWarning,
        stacklevel=3,
    )
