"""What mkdocstrings shows of our classes: typeset formulas, and fields as the call takes them."""

from __future__ import annotations

import re
import sys
from pathlib import Path
from typing import Any

import griffe

sys.path.insert(0, str(Path(__file__).parent))
from equations import typeset, with_equations

BOUNDED = re.compile(r"Annotated\[(\w+), Field\([^)]*\)\]")  # the text says within what
OPTIONS = "forecastcache.options.Options"


class Docstrings(griffe.Extension):
    """Looks at each class once its package is loaded."""

    def on_class(self, *, cls: griffe.Class, **_: Any) -> None:
        if cls.docstring is not None and cls.name in typeset():
            cls.docstring.value = with_equations(cls.name, cls.docstring.value)
        line = [cls, *cls.mro()]
        if any(it.path == OPTIONS for it in line):
            cls.set_member("__init__", _call(cls, line))


def _call(cls: griffe.Class, line: list[griffe.Class]) -> griffe.Function:
    """The constructor of an object whose fields are its options, in their order."""
    fields: dict[str, griffe.Attribute] = {}
    for kind in reversed(line):
        for name, member in kind.members.items():
            # A property is none, nor is a ClassVar.
            if "instance-attribute" in member.labels and not name.startswith("_"):
                fields[name] = member
    parameters = [
        griffe.Parameter(
            name,
            annotation=BOUNDED.sub(r"\1", str(field.annotation)),
            kind=griffe.ParameterKind.positional_or_keyword,
            default=field.value,
        )
        for name, field in fields.items()
        if name != "model_config"
    ]
    made = griffe.Function("__init__", parameters=griffe.Parameters(*parameters))
    made.parent = cls
    return made
