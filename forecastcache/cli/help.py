"""Help: how the commands and their options are listed, in wide terminals and in narrow ones."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

from rich.console import Console
from rich.padding import Padding
from rich.table import Table
from rich.text import Text
from typer.core import TyperCommand, TyperGroup

from forecastcache.cli.panels import HOW, OUTPUT, WHAT

WIDE = 60  # columns; below, what an option says stands under its name
LONGEST = 30  # columns of the names in a wide terminal
OTHERS = "Other options"
ORDER = (WHAT, HOW, OUTPUT, OTHERS)


class HelpedCommand(TyperCommand):
    """A command whose help is listed by panel."""

    def format_help(self, ctx: Any, formatter: Any) -> None:
        names = [_metavar(it) for it in self.params if it.param_type_name == "argument"]
        optional = [it.required for it in self.params if it.param_type_name == "argument"]
        shown = [name if needed else f"[{name}]" for name, needed in zip(names, optional)]
        usage = " ".join([ctx.command_path, *shown, "[OPTIONS]"])
        formatter.write(_written(usage, self.help, _panels(self.get_params(ctx)), self.epilog))


class HelpedGroup(TyperGroup):
    """The commands under one name, each with a line of its own."""

    def format_help(self, ctx: Any, formatter: Any) -> None:
        commands = {
            name: (command.help or "").partition("\n\n")[0]
            for name, command in self.commands.items()
        }
        panels = {"Commands": list(commands.items()), **_panels(self.get_params(ctx))}
        usage = f"{ctx.command_path} COMMAND [ARGUMENTS] [OPTIONS]"
        formatter.write(_written(usage, self.help, panels, self.epilog))


Panels = dict[str, list[tuple[str, str]]]


def _written(usage: str, about: str | None, panels: Panels, epilog: str | None) -> str:
    console = Console(highlight=False)
    with console.capture() as captured:
        console.print(Text.assemble(("Usage: ", "bold"), usage), "", sep="\n")
        for paragraph in _paragraphs(about):
            console.print(Text(paragraph), "", sep="\n")
        for title, lines in panels.items():
            console.print(Text(title, style="bold"))
            _print_lines(console, lines)
            console.print()
        for line in (epilog or "").strip().splitlines():
            console.print(Text(line.strip()), soft_wrap=True)
    return "".join(f"{line.rstrip()}\n" for line in captured.get().splitlines())


def _print_lines(console: Console, lines: Sequence[tuple[str, str]]) -> None:
    if console.width < WIDE:
        for name, about in lines:
            console.print(Padding(Text(name, style="cyan"), (0, 0, 0, 2)))
            console.print(Padding(Text(about), (0, 0, 0, 6)))
        return
    table = Table(box=None, show_header=False, padding=(0, 2, 0, 0), pad_edge=False)
    longest = max((len(name) for name, _ in lines), default=0)
    table.add_column(width=min(LONGEST, longest), style="cyan")
    table.add_column(ratio=1)
    for name, about in lines:
        table.add_row(Text(name), Text(about))
    console.print(Padding(table, (0, 0, 0, 2)))


def _panels(parameters: Sequence[Any]) -> Panels:
    found: Panels = {}
    for parameter in parameters:
        if getattr(parameter, "hidden", False):
            continue
        panel = getattr(parameter, "rich_help_panel", None) or OTHERS
        found.setdefault(panel, []).append((_name(parameter), _said(parameter)))
    order = [*ORDER, *(name for name in found if name not in ORDER)]
    return {name: found[name] for name in order if name in found}


def _name(parameter: Any) -> str:
    if parameter.param_type_name == "argument":
        return _metavar(parameter)
    names = ", ".join([*parameter.opts, *parameter.secondary_opts])
    return names if getattr(parameter, "is_flag", False) else f"{names} {_metavar(parameter)}"


def _metavar(parameter: Any) -> str:
    return str(parameter.metavar or parameter.name.upper())


def _said(parameter: Any) -> str:
    text = getattr(parameter, "help", None) or ""
    if parameter.required and parameter.param_type_name == "option":
        text += " Required."
    default = parameter.default
    shown = (
        not isinstance(default, bool) and default not in (None, (), []) and not callable(default)
    )
    return f"{text} Default: {default}." if shown else text


def _paragraphs(text: str | None) -> Iterator[str]:
    for paragraph in (text or "").strip().split("\n\n"):
        yield " ".join(paragraph.split())
