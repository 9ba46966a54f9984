"""Equations: LaTeX becomes MathML as the site is built, so that pages need no script and no font.

`$...$` and `$$...$$` are LaTeX in every page. Docstrings keep formulas as plain text, which reads
well in code; equations.yaml says how their passages are typeset.
"""

from __future__ import annotations

import html
import re
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Any

import yaml
from latex2mathml.converter import convert

MARKED = re.compile(
    r'<(span|div) class="arithmatex">\\([(\[])(.*?)\\[)\]]</\1>', re.DOTALL
)  # what pymdownx.arithmatex leaves
# A letter with an index, as docstrings write it: F_0, F^_s, x_{t-1}, sigma_s.
INDEXED = re.compile(r"(?<![\w\\{^])([A-Za-z]|sigma|gamma|tau)(\^?)_(\w|\{[^}\s]+\})(?![\w^_])")
# Code and equations, in which no letter is a symbol.
APART = re.compile(r"(`[^`]*`|\$\$.*?\$\$|\$[^$]*\$|^ {4}[^\n]*$)", re.DOTALL | re.MULTILINE)
GE = "\\ge"
THEN = r"(?: (\+|-|=|>=) (\d[\d/]*)(?![\w.]*[\w]|, \d))?"  # m + 1, u = 5/6, but not m = 1..4
WORD = re.compile(r'(?:<mi mathvariant="normal">\w</mi>){2,}')  # letter by letter, as it comes
TAG = re.compile(r"<[^>]*>")
Passages = list[dict[str, str]]


def on_page_content(content: str, **_: Any) -> str:
    """Put MathML where arithmatex has marked LaTeX."""
    return MARKED.sub(lambda marked: mathml(html.unescape(marked[3]), marked[2] == "["), content)


@cache
def mathml(latex: str, block: bool) -> str:
    """An equation as the browser draws it.

    Raises:
        ValueError: the converter does not know a command.
    """
    made = convert(latex.strip(), display="block" if block else "inline")
    # What it does not know it leaves as text.
    if "\\" in made or "&#x0005C;" in made or "<mi>&amp;</mi>" in made:
        raise ValueError(f"latex2mathml cannot convert {latex.strip()!r}: {made}")
    made = WORD.sub(lambda word: f"<mi>{TAG.sub('', word[0])}</mi>", made)
    made = made.replace("<mo>&#x0002F;</mo>", '<mo lspace="0" rspace="0">/</mo>')  # k/N
    return f'<div class="equation" tabindex="0">{made}</div>' if block else made


@cache
def typeset() -> dict[str, Any]:
    """How the formulas of docstrings are typeset, by the classes' names."""
    path = Path(__file__).with_name("equations.yaml")
    found: dict[str, Any] = yaml.safe_load(path.read_text(encoding="utf-8"))
    return found


def passages(name: str) -> Passages:
    """Pairs of `text`, as the class's docstring has it, and LaTeX, as `block` or `inline`."""
    found: Passages = typeset()[name].get("passages", [])
    return found


def rule(name: str) -> str:
    """A schedule's equations in one line of a table."""
    blocks = [it["block"].strip().rstrip(",.") for it in passages(name) if "block" in it]
    latex = " ".join(typeset()[name].get("rule", r", \quad ".join(blocks)).split())
    return f"$\\displaystyle {latex}$".replace("|", r"\vert ")  # a bar would end the cell


def with_equations(name: str, docstring: str) -> str:
    """A class's docstring with its formulas in LaTeX.

    Raises:
        LookupError: a passage that equations.yaml typesets is not there any more.
    """
    text = docstring
    for passage in passages(name):
        found = pattern(passage["text"]).search(text)
        if not found:
            raise LookupError(f"{name} no longer says {passage['text']!r}: see {__file__}")
        text = text[: found.start()] + markdown(passage) + text[found.end() :]
    text, arguments, of_them = text.partition("\nArgs:\n")
    text = "".join(_symbols(text, typeset()[name].get("letters", "")))
    return text + arguments + INDEXED.sub(_indexed, of_them)


def pattern(text: str) -> re.Pattern[str]:
    """Finds a passage however its lines are broken and indented."""
    return re.compile(r"(?:^ {4})?" + r"\s+".join(map(re.escape, text.split())), re.MULTILINE)


def markdown(passage: dict[str, str]) -> str:
    """What stands instead of a passage; an equation of its own between empty lines."""
    if "markdown" in passage:
        text = passage["markdown"].removesuffix("\n")
        return f"\n{text}" if text.startswith("\n") else text  # after a line that goes on
    if "inline" in passage:
        return f"${passage['inline'].strip()}$"
    return f"\n\n$$\n{passage['block'].strip()}\n$$\n\n"


def _symbols(text: str, letters: str) -> Iterator[str]:
    """The text with what it says of indexed letters, and of those of `letters`, in LaTeX."""
    alone = re.compile(rf"(?<![\w.'-])([{letters}])(?![\w('-]|\.\w){THEN}") if letters else None
    for i, part in enumerate(APART.split(text)):
        if i % 2 == 0:
            part = INDEXED.sub(_indexed, part)
            if alone:
                part = "".join(
                    it if j % 2 else alone.sub(_with_number, it)
                    for j, it in enumerate(APART.split(part))
                )
        yield part


def _with_number(found: re.Match[str]) -> str:
    letter, sign, number = found.groups()
    return f"${letter} {sign.replace('>=', GE)} {number}$" if sign else f"${letter}$"


def _indexed(found: re.Match[str]) -> str:
    letter = found[1] if len(found[1]) == 1 else f"\\{found[1]}"
    hat = "\\hat " if found[2] else ""
    return f"${hat}{letter}_{found[3]}$"
