"""The command line: the commands under one name, and how it ends."""

from __future__ import annotations

import os
import sys
from contextlib import suppress
from typing import NoReturn

import typer

from forecastcache.cli.argv import TYPED, require_legible
from forecastcache.cli.boundary import in_one_line
from forecastcache.cli.cache import cache_command
from forecastcache.cli.calibrate import calibrate_command
from forecastcache.cli.claims import claims_command
from forecastcache.cli.compare import compare_command
from forecastcache.cli.demo import demo_command
from forecastcache.cli.evaluate import evaluate_command
from forecastcache.cli.explain import explain_command
from forecastcache.cli.list import list_command
from forecastcache.cli.memory import memory_command
from forecastcache.cli.plan import plan_command
from forecastcache.cli.run import run_command
from forecastcache.cli.trace import trace_command
from forecastcache.cli.tune import tune_command

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
    compare_command,
    tune_command,
    trace_command,
    explain_command,
    claims_command,
    memory_command,
    list_command,
    cache_command,
    demo_command,
):
    app.command(name=command.__name__.removesuffix("_command"))(command)


def run_app(arguments: list[str] | None = None) -> NoReturn:
    """Run and exit: 0 on success, 2 with one line on standard error for a mistake of the user."""
    try:
        TYPED.set(sys.argv[1:] if arguments is None else arguments)
        require_legible(TYPED.get())
        code = app(arguments, standalone_mode=False) or 0
        sys.stdout.flush()  # else a full disk is noticed after the exit code is settled
    except (typer.Abort, KeyboardInterrupt):
        sys.exit(130)
    except BrokenPipeError:
        _drop_output()
        sys.exit(1)  # as typer ends when who reads a pipe has gone
    except Exception as error:
        message = in_one_line(error)
        if message is None:
            raise
        _refuse(message)
    sys.exit(code)


def _refuse(message: str) -> NoReturn:
    try:
        sys.stdout.flush()
    except OSError:
        _drop_output()
    if message:
        with suppress(OSError):
            print(f"forecastcache: {message}", file=sys.stderr)
    sys.exit(2)


def _drop_output() -> None:
    """Discard what could not be written, which Python would else write again as it ends."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
