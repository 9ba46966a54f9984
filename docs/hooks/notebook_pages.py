"""A page for each notebook, with what it showed when it was run."""

from __future__ import annotations

import json
import re
from base64 import b64decode
from functools import cache
from pathlib import Path
from typing import Any

NOTEBOOKS = Path(__file__).parents[2] / "notebooks"
FOLDER = "notebooks"
# From where a notebook lies to where its page does.
LINKS = [
    (re.compile(r"\]\(\.\./docs/"), "](../"),
    (re.compile(r"(\]\([\w-]+)\.ipynb\b"), r"\1.md"),
]


def navigation() -> list[dict[str, str]]:
    """The titles of the notebooks with their pages, in their order."""
    return [{title(path): f"{FOLDER}/{path.stem}.md"} for path in notebooks()]


def pages() -> dict[str, str | bytes]:
    """The pages, their pictures and the notebooks themselves, by their paths in the site."""
    found: dict[str, str | bytes] = {}
    for path in notebooks():
        text, pictures = page(path)
        found[f"{FOLDER}/{path.stem}.md"] = text
        found[f"{FOLDER}/{path.name}"] = path.read_bytes()
        found |= {f"{FOLDER}/{name}": picture for name, picture in pictures.items()}
    return found


def notebooks() -> list[Path]:
    """The notebooks, by their numbers."""
    return sorted(NOTEBOOKS.glob("*.ipynb"))


def title(path: Path) -> str:
    """The heading that a notebook begins with."""
    return _source(_cells(path)[0]).partition("\n")[0].removeprefix("# ")


def page(path: Path) -> tuple[str, dict[str, bytes]]:
    """A notebook's page in markdown, and its pictures by their names."""
    parts, pictures = [], {}
    for cell in _cells(path):
        if cell["cell_type"] == "markdown":
            parts.append(_markdown(_source(cell)))
            continue
        # Of use to a notebook alone.
        parts.append(_fence(_source(cell).removeprefix("%%capture\n"), "python"))
        for output in cell["outputs"]:
            data = output.get("data", {})
            if "image/png" in data:
                name = f"{path.stem}-{len(pictures) + 1}.png"
                pictures[name] = b64decode("".join(data["image/png"]))
                parts.append(f"![What the cell above shows]({name})")
            elif "text/markdown" in data:
                parts.append(_markdown("".join(data["text/markdown"])))
            else:
                parts.append(_fence("".join(output.get("text") or data["text/plain"]), "text"))
    heading, *rest = parts
    first, _, others = heading.partition("\n")
    note = f"*A notebook as it ran: [download it]({path.name}).*"
    return "\n\n".join([first, note, others.strip(), *rest, ""]), pictures


@cache
def _cells(path: Path) -> list[dict[str, Any]]:
    cells: list[dict[str, Any]] = json.loads(path.read_text(encoding="utf-8"))["cells"]
    return cells


def _source(cell: dict[str, Any]) -> str:
    return "".join(cell["source"])


def _markdown(text: str) -> str:
    for found, instead in LINKS:
        text = found.sub(instead, text)
    return text


def _fence(text: str, language: str) -> str:
    return f"```{language}\n{text.rstrip()}\n```"
