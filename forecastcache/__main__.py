"""`forecastcache` and `python -m forecastcache`."""

from __future__ import annotations

import sys
from importlib.util import find_spec

NEEDED = ("typer", "rich", "matplotlib", "torchmetrics", "accelerate")


def main() -> None:
    """Run the command line, or say what to install for it."""
    missing = [name for name in NEEDED if find_spec(name) is None]
    if missing:
        sys.exit(f"the command line needs {', '.join(missing)}: pip install 'forecastcache[cli]'")
    from forecastcache.cli.app import run_app

    run_app()


if __name__ == "__main__":
    main()
