"""What the benchmarks share: paired timing, results with their machine, and pages they fill."""

from __future__ import annotations

import json
import platform
import sys
from collections.abc import Callable
from pathlib import Path
from statistics import median
from time import perf_counter
from typing import Any

import diffusers
import torch

RESULTS = Path(__file__).parent / "results"


def seconds(work: Callable[[], Any]) -> float:
    started = perf_counter()
    work()
    return perf_counter() - started


def paired(
    one: Callable[[], Any], other: Callable[[], Any], pairs: int
) -> tuple[float, float, float]:
    """Median seconds of both, run in turn after a warm-up, and the median of `one` / `other`."""
    one(), other()
    times = [(seconds(one), seconds(other)) for _ in range(pairs)]
    return (
        median(a for a, _ in times),
        median(b for _, b in times),
        median(a / b for a, b in times),
    )


def record(name: str, rows: list[dict[str, Any]], **more: str) -> None:
    """Print the rows and keep them under results/, with versions, machine and command."""
    for row in rows:
        print("  ".join(f"{key} {value}" for key, value in row.items()))
    RESULTS.mkdir(exist_ok=True)
    result = {
        "command": "python " + " ".join(sys.argv),
        "torch": torch.__version__,
        "diffusers": diffusers.__version__,
        "python": platform.python_version(),
        "machine": f"{platform.machine()}, {torch.get_num_threads()} threads",
        **more,
        "rows": rows,
    }
    (RESULTS / f"{name}.json").write_text(json.dumps(result, indent=2) + "\n")


def put(path: Path, name: str, inside: str) -> None:
    """Write into a document, between the two marks of a name."""
    start, end = f"<!-- {name} -->", f"<!-- end of {name} -->"
    before, _, rest = path.read_text(encoding="utf-8").partition(start)
    after = rest.partition(end)[2]
    path.write_text(f"{before}{start}\n\n{inside}\n\n{end}{after}", encoding="utf-8")
