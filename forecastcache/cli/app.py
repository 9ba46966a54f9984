"""The command line: the commands under one name, and how it ends."""

from __future__ import annotations

import os
import platform
import sys
from collections.abc import Callable
from contextlib import suppress
from importlib.metadata import PackageNotFoundError, version
from typing import Annotated, NoReturn

import typer

from forecastcache.cli.argv import TYPED, require_legible, with_app_options_first
from forecastcache.cli.boundary import in_one_line
from forecastcache.cli.cache import cache_command
from forecastcache.cli.calibrate import calibrate_command
from forecastcache.cli.claims import claims_command
from forecastcache.cli.compare import compare_command
from forecastcache.cli.completion import rejoin_words
from forecastcache.cli.console import plainly_warned
from forecastcache.cli.demo import demo_command
from forecastcache.cli.evaluate import evaluate_command
from forecastcache.cli.explain import explain_command
from forecastcache.cli.help import HelpedCommand, HelpedGroup
from forecastcache.cli.list import list_command
from forecastcache.cli.memory import memory_command
from forecastcache.cli.plan import plan_command
from forecastcache.cli.run import run_command
from forecastcache.cli.trace import trace_command
from forecastcache.cli.tune import tune_command
from forecastcache.cli.verbosity import choose_verbosity
from forecastcache.errors import OptionError

app = typer.Typer(
    cls=HelpedGroup,
    help="Forecast the features of diffusion models instead of computing them all.",
    epilog="A first look: forecastcache demo\n"
    "A model, plain and five times faster: forecastcache run zoo:flux-digits --speedup 5\n"
    "All of a command: forecastcache COMMAND --help",
)
EXAMPLES: dict[Callable[..., None], str] = {
    run_command: "run zoo:flux-digits --speedup 5",
    calibrate_command: "calibrate zoo:flux-digits --out flux.cal",
    plan_command: "plan zoo:flux-digits --speedup 5",
    evaluate_command: "evaluate zoo:flux-digits --predictor taylor --interval 3..6",
    compare_command: "compare zoo:flux-digits --a taylor:order=1 --b learned",
    tune_command: "tune zoo:flux-digits --schedule teacache --computed 12",
    trace_command: "trace zoo:flux-digits",
    explain_command: "explain taylor:order=2 --computed 0,6,12 --target 17",
    claims_command: "claims",
    memory_command: "memory flux.1-dev --site module",
    list_command: "list",
    cache_command: "cache list",
    demo_command: "demo",
}
for command, example in EXAMPLES.items():
    app.command(
        name=command.__name__.removesuffix("_command"),
        cls=HelpedCommand,
        epilog=f"For example: forecastcache {example}",
    )(command)


def _print_versions(asked: bool) -> None:
    """Say which versions are at work, without importing them."""
    if not asked:
        return
    for name in ("forecastcache", "torch", "diffusers"):
        try:
            print(name, version(name))
        except PackageNotFoundError:
            print(name, "not installed")
    print("python", platform.python_version())
    raise typer.Exit()


@app.callback()
def _for_all_commands(
    verbose: Annotated[
        bool,
        typer.Option(
            "--verbose", help="Show what the libraries below say: bars, warnings and messages."
        ),
    ] = False,
    quiet: Annotated[
        bool, typer.Option("--quiet", help="Print results and errors, and nothing else.")
    ] = False,
    _: Annotated[
        bool,
        typer.Option(
            "--version",
            callback=_print_versions,
            is_eager=True,
            help="Show the versions of forecastcache, torch, diffusers and Python.",
        ),
    ] = False,
) -> None:
    if verbose and quiet:
        raise OptionError("--verbose and --quiet contradict each other: leave one out")
    choose_verbosity("verbose" if verbose else "quiet" if quiet else "usual")


def run_app(arguments: list[str] | None = None) -> NoReturn:
    """Run and exit: 0 on success, 2 with one line on standard error for a mistake of the user."""
    try:
        rejoin_words(os.environ)
        given = sys.argv[1:] if arguments is None else arguments
        TYPED.set(given)
        require_legible(given)
        choose_verbosity("verbose" if "--verbose" in given else "usual")
        with plainly_warned():
            code = app(with_app_options_first(given) or ["--help"], standalone_mode=False)
            code = code or (0 if given else 2)
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
