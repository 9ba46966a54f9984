"""What the site says that the library itself knows: generated, so that it cannot be out of date.

A page asks for a part with a line `<!-- generated: PART ARGUMENT -->`. The page of a predictor is
generated as a whole, for every one that `pyproject.toml` declares, and so is that of an adapter's
record, where docs/models has none, and that of a notebook.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from inspect import cleandoc
from itertools import takewhile
from pathlib import Path
from typing import Any, TypeVar

import equations
import model_pages
import notebook_pages
import typer
from markdown import Markdown
from markdown.extensions import Extension
from markdown.inlinepatterns import SimpleTextInlineProcessor

import forecastcache as fc
from forecastcache.baselines.baseline import BASELINES
from forecastcache.cli.app import app
from forecastcache.options import describe_options
from forecastcache.predictor import LinearPredictor, Predictor
from forecastcache.registry import PREDICTORS, SCHEDULES, Registry
from forecastcache.schedules.adaptive import Adaptive
from forecastcache.spec import build

Kind = TypeVar("Kind")

ROOT = Path(__file__).parents[2]
ASKED = re.compile(r"^<!-- generated: (\w+) ?(\S*) -->$", re.MULTILINE)
COMPUTED, TARGET = (0, 6, 12), 17
CHOSEN = (  # rows of fidelity.md
    "TaylorSeer as published",
    "Taylor 1, reference rule",
    "taylor:order=1, its best schedule",
    "closed loop, searched 9",
    "closed loop, searched 5",
)


class PlainFormulas(Extension):
    """Docstrings write formulas as text: w_{s,c} is no emphasis, and <e_i, e_j> no HTML."""

    def extendMarkdown(self, md: Markdown) -> None:
        md.inlinePatterns.deregister("html")
        # After links (160), before emphasis (60).
        md.inlinePatterns.register(SimpleTextInlineProcessor("(_)", md), "underscore", 70)


def on_config(config: Any) -> None:
    """Give every generated page its place in the navigation."""
    config.markdown_extensions.append(PlainFormulas())
    for title, pages_of in _sections(config.nav):
        if title == "Predictors":
            pages_of += [{name: f"predictors/{name}.md"} for name in ours(PREDICTORS)]
        if title == "Models":
            pages_of += model_pages.navigation()
        if title == "Notebooks":
            pages_of += notebook_pages.navigation()


def _sections(nav: list[Any]) -> Iterator[tuple[str, list[Any]]]:
    """The navigation's lists of pages with their titles, those within others too."""
    for place in nav:
        for title, inside in place.items() if isinstance(place, dict) else ():
            if isinstance(inside, list):
                yield title, inside
                yield from _sections(inside)


def on_files(files: Any, config: Any) -> None:
    """Add the pages that no file of docs/ holds."""
    from mkdocs.structure.files import File

    for path, content in {**pages(), **model_pages.pages(), **notebook_pages.pages()}.items():
        files.append(File.generated(config, path, content=content))


def on_page_markdown(markdown: str, **_: Any) -> str:
    """Put in the parts that a page asks for."""
    return ASKED.sub(lambda asked: PARTS[asked[1]](*asked[2].split()), markdown)


def pages() -> dict[str, str]:
    """The pages that no file of docs/ holds but for those of models, by their paths in it."""
    return {
        **{f"predictors/{name}.md": predictor_page(name) for name in ours(PREDICTORS)},
        "contributing.md": (ROOT / "CONTRIBUTING.md").read_text(encoding="utf-8"),
        "changelog.md": (ROOT / "CHANGELOG.md").read_text(encoding="utf-8"),
    }


def ours(registry: Registry[type[Kind]]) -> dict[str, type[Kind]]:
    """What is ours in a registry; another installed package documents its own."""
    here = "forecastcache."
    return {name: kind for name, kind in registry.items() if kind.__module__.startswith(here)}


def predictor_page(name: str) -> str:
    """A predictor's docstring, and what it does with the example's steps."""
    kind = PREDICTORS.get(name)
    known = getattr(fc, kind.__name__, None) is kind
    path = f"forecastcache.{kind.__name__}" if known else f"{kind.__module__}.{kind.__name__}"
    page = f"""
# `{name}`

::: {path}
    options:
      members: false

## On the command line

`--predictor {name}`; it takes {describe_options(kind) or "no options"}.

## What it does with three steps

"""
    given = _given(kind)
    command = " ".join(
        [
            f"forecastcache explain {name}",
            *(f"--set {option}={value}" for option, value in given.items()),
            f"--computed {','.join(map(str, COMPUTED))} --target {TARGET}",
        ]
    )
    try:
        made = build(name, given)
        page += f"As it is made here, it keeps {made.depth} computed features a site.\n\n"
        shown = fc.explain(made, computed=COMPUTED, target=TARGET)
    except fc.errors.ForecastCacheError as error:
        return page + f"No example here: {error}.\n"
    return page + f"```\n$ {command}\n{shown}\n```\n"


def predictors() -> str:
    """Every predictor in a line."""
    lines = ["| name | what it does | a row | features kept |", "|---|---|---|---|"]
    for name, kind in ours(PREDICTORS).items():
        linear = "yes" if issubclass(kind, LinearPredictor) else "no"
        try:
            depth = str(build(name, _given(kind)).depth)
        except fc.errors.ForecastCacheError:
            depth = "as its options say"
        lines.append(f"| [`{name}`]({name}.md) | {_summary(kind)} | {linear} | {depth} |")
    return "\n".join(lines)


def _given(kind: type[Predictor]) -> dict[str, str]:
    """What a predictor must be given, where that is predictors: reuse, then taylor."""
    schema = kind.model_json_schema()
    types = {
        name: schema["properties"][name].get("type", "") for name in schema.get("required", ())
    }
    parts = [name for name, type_ in types.items() if "predictor" in type_]
    return dict(zip(parts, ("reuse", "taylor")))


def rules() -> str:
    """Every adaptive schedule with the equation by which it computes a step."""
    lines = ["| name | computes a step where |", "|---|---|"]
    for name, kind in ours(SCHEDULES).items():
        if issubclass(kind, Adaptive):
            lines.append(f"| `{name}` | {equations.rule(kind.__name__)} |")
    return "\n".join(lines)


def headline() -> str:
    """The README's figures of nine computed steps."""
    return "\n".join(_table("README.md", "PSNR of the final latent"))


def accuracy() -> str:
    """The README's figures of every predictor."""
    return "\n".join(_table("README.md", "PSNR at interval"))


def measured(model: str) -> str:
    """What a model of the zoo was measured at, from sites.md and from fidelity.md."""
    head, rule, *rows = _table("docs/sites.md", "(ceiling")
    groups = [i for i, row in enumerate(rows) if row.startswith("| `zoo:")]
    own = next(i for i in groups if f"`{model}`" in rows[i])
    end = next((i for i in groups if i > own), len(rows))
    top, _, *lines = _table("docs/fidelity.md", "computed | `zoo:")
    column = next(i for i, title in enumerate(_cells(top)) if model in title)
    found = {row[0]: f"| {row[0]} | {row[1]} | {row[column]} |" for row in map(_cells, lines)}
    return "\n".join(
        [
            "60 samples, 50 steps, `Every(5, first=3)` and `Taylor(order=1)`, on two CPU cores;",
            f"PSNR and SSIM are of the pictures (`forecastcache run {model} --count 60 --site",
            "SITE --interval 5`):",
            "",
            *(head, rule, *rows[own + 1 : end]),
            "",
            "PSNR of the final latents to the plain 50 steps, 64 held-out samples, at `output`",
            "but for TaylorSeer (`make bench-fidelity`; more in [fidelity](../fidelity.md)):",
            "",
            "| | computed | latent PSNR, dB |",
            "|---|---:|---:|",
            *(found[row] for row in CHOSEN),
        ]
    )


def baselines() -> str:
    """Every baseline in a line."""
    lines = ["| baseline | what it is | options |", "|---|---|---|"]
    for name, kind in ours(BASELINES).items():
        lines.append(f"| `{name}` | {_summary(kind)} | {_one_line(describe_options(kind))} |")
    return "\n".join(lines)


def commands() -> str:
    """Every command with its arguments and options."""
    group: Any = typer.main.get_command(app)
    lines = []
    for name, command in group.commands.items():
        lines += [f"## `{name}`", "", _one_line(command.help), ""]
        lines += ["| option | what it says |", "|---|---|"]
        for parameter in command.params:
            names = ", ".join(f"`{it}`" for it in (*parameter.opts, *parameter.secondary_opts))
            text = getattr(parameter, "help", None) or ""
            if parameter.required:
                text += " Required."
            elif parameter.default is not False and parameter.default not in (None, (), []):
                text += f" Default: {parameter.default}."
            lines.append(f"| {names} | {_one_line(text)} |")
        lines.append("")
    return "\n".join(lines)


def _table(path: str, title: str) -> list[str]:
    """The lines of the table in a file whose head has `title` in it."""
    lines = iter((ROOT / path).read_text(encoding="utf-8").splitlines())
    for line in lines:
        if line.startswith("|") and title in line:
            return [line, *takewhile(lambda line: line.startswith("|"), lines)]
    raise LookupError(f"{path} has no table with {title!r} in its head, which {__file__} copies")


def _cells(row: str) -> list[str]:
    return [cell.strip() for cell in row.strip().strip("|").split("|")]


def _summary(kind: type) -> str:
    """The first paragraph of a class's docstring."""
    text = cleandoc(kind.__doc__ or "")
    if kind.__name__ in equations.typeset():
        text = equations.with_equations(kind.__name__, text)
    return _one_line(text.partition("\n\n")[0])


def _one_line(text: str) -> str:
    return " ".join(text.split()).replace("|", "\\|")


PARTS: dict[str, Callable[..., str]] = {
    part.__name__: part
    for part in (
        accuracy, baselines, commands, headline, measured, predictors, rules,
        model_pages.adapters, model_pages.memory, model_pages.tested,
    )
}  # fmt: skip
