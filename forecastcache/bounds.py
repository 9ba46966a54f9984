"""Bounds: the most that input from outside may ask for, all in one table.

They stand far above what any model or machine takes, so that a slip of the pen is refused at once
instead of running out of time or memory.
"""

from __future__ import annotations

from forecastcache.errors import OptionError

MOST = {
    "steps": 10_000,
    "samples": 100_000,  # also prompts, and samples in a batch
    "pixels": 65_536,  # a side
    "frames": 100_000,
    "text tokens": 1_000_000,
    "tries": 1_000_000,
    "evaluations": 2**62,
    "elements": 2**40,
    "seed": 2**62,  # count up from it, and every seed fits 64 bits
    "rows": 1_000,  # of an evaluation, beside the plain run
    "letters of a prompt": 10_000,
    "bytes of a prompts file": 1 << 26,
    "bytes of a sweep file": 1 << 18,  # YAML is read at some 100 kB a second
    "digits of a number": 100,
    "brackets in brackets": 100,
}


def require_at_most(bound: str, number: int, what: str) -> None:
    """Refuse a number above its bound.

    Args:
        bound: key of `MOST`.
        number: number that was given.
        what: name of what has the number, for the error.

    Raises:
        OptionError: naming the bound.
    """
    if number > MOST[bound]:
        raise OptionError(f"{what} asks for {number:,} {bound}: {MOST[bound]:,} are the most")


def whole_number(bound: str, text: str, what: str, least: int = 0) -> int:
    """The number that a text spells, from `least` to its bound.

    Args:
        bound: key of `MOST`.
        text: digits, perhaps with spaces around them.
        what: name of what has the number, for the error.
        least: the smallest number that is taken.

    Raises:
        OptionError: it spells none of these; the error names the bound.
    """
    digits = text.strip()
    # Python refuses to read more than some thousand digits, with an error of its own.
    short = digits.isdecimal() and len(digits) <= MOST["digits of a number"]
    number = int(digits) if short else -1
    if not least <= number <= MOST[bound]:
        raise OptionError(
            f"{what} {shortened(text)} is none of the numbers from {least} to {MOST[bound]}: "
            "write one of these"
        )
    return number


def shortened(text: str, most: int = 200) -> str:
    """A text as an error quotes it: its middle is left out where it is long."""
    if len(text) <= most:
        return text
    half = most // 2
    return f"{text[:half]} ... {text[-half:]}"
