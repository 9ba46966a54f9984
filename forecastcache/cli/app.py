"""The command line: the commands under one name, and how it ends."""

from __future__ import annotations

import sys
from typing import NoReturn

import typer

from forecastcache.cli.calibrate import calibrate_command
from forecastcache.cli.evaluate import evaluate_command
from forecastcache.cli.explain import explain_command
from forecastcache.cli.list import list_command
from forecastcache.cli.memory import memory_command
from forecastcache.cli.plan import plan_command
from forecastcache.cli.run import run_command
from forecastcache.cli.trace import trace_command
from forecastcache.errors import ForecastCacheError

app = typer.Typer(
    help="Forecast the features of diffusion models instead of computing them all.",
    no_args_is_help=True,
    add_completion=False,
)
for command in (
    run_command,
    calibrate_command,
    plan_command,
    evaluate_command,
    trace_command,
    explain_command,
    memory_command,
    list_command,
):
    app.command(name=command.__name__.removesuffix("_command"))(command)


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
