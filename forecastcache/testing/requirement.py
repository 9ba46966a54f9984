"""What the conformance suites raise."""

from __future__ import annotations

from forecastcache.errors import ConformanceError


def require(condition: bool, complaint: str) -> None:
    """Go on if the condition holds.

    Raises:
        ConformanceError: with the complaint, if not.
    """
    if not condition:
        raise ConformanceError(complaint)
