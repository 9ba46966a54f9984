"""The command line: the commands under one name, and how it ends."""

from __future__ import annotations

import sys
from typing import NoReturn

import typer

from forecastcache.commands.calibrate import calibrate
from forecastcache.commands.evaluate import evaluate
from forecastcache.commands.explain import explain
from forecastcache.commands.listing import list_
from forecastcache.commands.memory import memory
from forecastcache.commands.plan import plan
from forecastcache.commands.run import run
from forecastcache.commands.trace import trace
from forecastcache.errors import ForecastCacheError

app = typer.Typer(
    help="Forecast the features of diffusion models instead of computing them all.",
    no_args_is_help=True,
    add_completion=False,
)
for command in (run, calibrate, plan, evaluate, trace, explain, memory, list_):
    app.command(name=command.__name__.rstrip("_"))(command)


def run_app(arguments: list[str] | None = None) -> NoReturn:
    """Run and exit: 0 on success, 2 with one line on standard error for a mistake of the user."""
    try:
        sys.exit(app(arguments, standalone_mode=False) or 0)
    except ForecastCacheError as error:
        _refuse(str(error))
    except typer.Abort:
        sys.exit(130)
    except Exception as error:
        # A mistake in the arguments; typer's own classes for it moved between its versions.
        if not hasattr(error, "format_message"):
            raise
        _refuse(error.format_message())


def _refuse(message: str) -> NoReturn:
    if message:
        print("forecastcache: " + " ".join(message.split()), file=sys.stderr)
    sys.exit(2)
