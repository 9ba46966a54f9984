"""Verbosity: how much is said beside results and errors, by --quiet and --verbose."""

from __future__ import annotations

import logging
import sys
from contextvars import ContextVar
from typing import Literal

Verbosity = Literal["quiet", "usual", "verbose"]

_chosen: ContextVar[Verbosity] = ContextVar("verbosity", default="usual")
_told: set[str] = set()  # warnings of this command
# Loggers that warn while diffusers is imported, of what no user of ours can change.
NOISY = ("torchao", "torch.utils._pytree", "torchvision")


class _OnStandardError(logging.StreamHandler):  # type: ignore[type-arg]
    """Writes to standard error as it is now, which tests put another in place of."""

    def emit(self, record: logging.LogRecord) -> None:
        self.setStream(sys.stderr)
        super().emit(record)


_handler = _OnStandardError()
_handler.setFormatter(logging.Formatter("%(name)s: %(message)s"))


def choose_verbosity(verbosity: Verbosity) -> None:
    """Set it for this command."""
    _chosen.set(verbosity)
    _told.clear()
    ours = logging.getLogger("forecastcache")
    ours.removeHandler(_handler)
    ours.setLevel(logging.INFO if verbosity == "verbose" else logging.NOTSET)
    if verbosity == "verbose":
        ours.addHandler(_handler)
    for name in NOISY:
        level = logging.NOTSET if verbosity == "verbose" else logging.ERROR
        logging.getLogger(name).setLevel(level)


def is_quiet() -> bool:
    """Whether results and errors are all that is printed."""
    return _chosen.get() == "quiet"


def is_verbose() -> bool:
    """Whether other libraries may say what they like."""
    return _chosen.get() == "verbose"


def warn_once(text: str) -> None:
    """Tell on standard error what was warned of, unless this command has told it before."""
    if text not in _told:
        _told.add(text)
        note(f"forecastcache: {text}")


def note(text: str) -> None:
    """Tell on standard error what was chosen or done; nothing under --quiet."""
    if not is_quiet():
        print(text, file=sys.stderr)
