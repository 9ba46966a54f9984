"""What the wheel of a package says that it needs."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from email.parser import Parser
from pathlib import Path
from zipfile import ZipFile

from packaging.requirements import Requirement

THERE = {"python_version": "3.12", "python_full_version": "3.12.3", "sys_platform": "linux"}
THERE |= {"platform_system": "Linux", "platform_machine": "x86_64", "os_name": "posix"}
THERE |= {"implementation_name": "cpython", "platform_python_implementation": "CPython"}


def needed(wheel: Path, extras: Sequence[str] = ("",)) -> Iterator[Requirement]:
    """The requirements of a wheel with these extras, under Python 3.12 on x86-64 Linux."""
    with ZipFile(wheel) as archive:
        name = next(it for it in archive.namelist() if it.endswith(".dist-info/METADATA"))
        metadata = Parser().parsestr(archive.read(name).decode())
    for line in metadata.get_all("Requires-Dist", []):
        requirement = Requirement(line)
        marker = requirement.marker
        if marker is None or any(marker.evaluate({**THERE, "extra": it}) for it in extras):
            yield requirement


def canonical(name: str) -> str:
    """A package's name as registries compare it."""
    return re.sub(r"[-_.]+", "-", name).lower()
