"""Arguments as the shell hands them over: what no option can mean is refused at once."""

from __future__ import annotations

import re
import shlex
import sys
from collections.abc import Sequence
from contextvars import ContextVar

from forecastcache.bounds import MOST, shortened
from forecastcache.errors import OptionError

MAY_BE_EMPTY = ("--negative-prompt",)  # for many models that is the usual one
OF_THE_APP = ("--verbose", "--quiet")
TYPED: ContextVar[Sequence[str]] = ContextVar("TYPED")  # arguments of the command that runs


def with_app_options_first(arguments: Sequence[str]) -> list[str]:
    """The arguments with those of all commands before the command, wherever they were."""
    first = [it for it in arguments if it in OF_THE_APP]
    return [*first, *(it for it in arguments if it not in OF_THE_APP)]


def require_legible(arguments: Sequence[str]) -> None:
    """Refuse arguments that are empty, not UTF-8, or hold a number that nobody writes.

    Raises:
        OptionError: naming the option, what is wrong and what to write.
    """
    for before, argument in zip(["", *arguments], arguments):
        option, text = _parted(before, argument)
        if not text.strip() and option not in MAY_BE_EMPTY:
            raise OptionError(f"{option} is empty: give it a value, or leave it out")
        try:
            text.encode()
        except UnicodeEncodeError:
            plain = text.encode(errors="replace").decode()
            raise OptionError(f"{option} {plain} is not UTF-8: write a name in UTF-8") from None
        most = MOST["digits of a number"]
        if re.search(rf"\d{{{most + 1}}}", text):
            raise OptionError(
                f"{option} {shortened(text, 60)} has a number of more than {most} digits: "
                "write a shorter one"
            )


def as_typed() -> str:
    """The command line as it was given, for a shell."""
    return shlex.join(["forecastcache", *TYPED.get(sys.argv[1:])])


def _parted(before: str, argument: str) -> tuple[str, str]:
    """The option that an argument is of, for an error, and its text."""
    option, equals, text = argument.partition("=")
    if equals and option.startswith("--"):
        return option, text
    return (before if before.startswith("--") else "an argument"), argument
