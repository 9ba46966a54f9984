"""Panels: the groups that the options of a command are listed in."""

from __future__ import annotations

from typing import Any

import typer

WHAT, HOW, OUTPUT = "What", "How", "Output"
NUMBER = {"metavar": "N"}  # what stands for the value where an option does not say


def what(*names: str, **settings: Any) -> Any:
    """An option that says what is sampled: model, prompts, seeds, size."""
    return typer.Option(*names, **{**NUMBER, **settings}, rich_help_panel=WHAT)


def how(*names: str, **settings: Any) -> Any:
    """An option that says how it is run: which steps, which forecast, where."""
    return typer.Option(*names, **{**NUMBER, **settings}, rich_help_panel=HOW)


def output(*names: str, **settings: Any) -> Any:
    """An option that says what is written and printed."""
    return typer.Option(*names, **{**NUMBER, **settings}, rich_help_panel=OUTPUT)


def argument(**settings: Any) -> Any:
    """What a command is given without an option."""
    return typer.Argument(rich_help_panel=WHAT, **settings)
