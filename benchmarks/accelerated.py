"""What `fc.accelerate` comes to after four pictures, on held-out prompts: docs/accelerate.md.

python benchmarks/accelerated.py [zoo:NAME[@GUIDANCE] ...]   measures and writes
python benchmarks/accelerated.py --report                    writes the table of what was measured
"""

from __future__ import annotations

import json
import sys
from collections.abc import Sequence
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from diffusers.utils import logging
from fidelity import Fidelity
from measure import RESULTS, put, record

import forecastcache as fc
from forecastcache.accelerated.summary import Summary
from forecastcache.sampling.loading import load
from forecastcache.sampling.request import Request
from forecastcache.spec import parse_predictor

MODELS = (
    "zoo:flux-digits", "zoo:qwen-digits", "zoo:dit-digits", "zoo:dit-digits@4",
    "zoo:dit-digits@7", "zoo:hunyuan-digits", "zoo:flux-emoji", "zoo:flux-emoji-true",
    "zoo:wan-digits",
)  # fmt: skip
PICTURES = 4
COUNTS = (6, 9, 12, 18)
HELD_OUT = 64
DOCUMENT = Path(__file__).parents[1] / "docs" / "accelerate.md"
FORMULAS = ("taylor:order=1", "taylor:order=2", "variable-order")


def rows(name: str) -> list[dict[str, Any]]:
    """Of one model: what was learned at each count, beside formulas at the default warp."""
    model, _, guidance = name.partition("@")
    asked: dict[str, Any] = {"guidance_scale": float(guidance)} if guidance else {}
    pipe = load(model)
    pipe.set_progress_bar_config(disable=True)
    held_out = Fidelity(pipe, Request.of(model, count=HELD_OUT, **asked), HELD_OUT)
    request = Request.of(model, split="calibration", seed=1000, count=PICTURES, **asked)
    found = []
    with TemporaryDirectory() as folder:
        for count in COUNTS:
            *chosen, summary = learned(pipe, request, count, folder)
            row = {"model": name, "what": "accelerate", "count": count} | {
                "latent_psnr_db": round(held_out.psnr(*chosen), 2),
                "computed": list(chosen[0].steps),
                "fit_plain_runs": round(summary.fit_plain_runs or 0, 2),
                "fit_seconds_as_plain_runs": _in_plain_runs(summary),
            }
            print(row, flush=True)
            found.append(row)
            for spec in FORMULAS:
                psnr = held_out.psnr(fc.Warped(count), parse_predictor(spec))
                found.append(
                    {"model": name, "what": spec, "count": count,
                     "latent_psnr_db": round(psnr, 2)}
                )  # fmt: skip
                print(found[-1], flush=True)
    return found


def learned(
    pipe: Any, request: Request, count: int, folder: str
) -> tuple[fc.Schedule, fc.Predictor, Summary]:
    """What is learned of a request's samples, one by one, for `count` computed steps.

    Args:
        pipe: a diffusers pipeline.
        request: the samples.
        count: number of computed steps.
        folder: folder that what is learned is kept in.
    """
    fast = fc.accelerate(
        pipe, computed=count, pictures=len(request), folder=folder, progress=False
    )
    for part in request.split(pipe, 1):
        fast(**part.keywords(pipe))
    file = Path(folder) / "learned"
    fast.save(file)
    return *fc.Calibration.load(file).choose(count), fast.summary()


def _in_plain_runs(summary: Summary) -> float | None:
    if summary.fit_seconds is None or summary.plain_seconds is None:
        return None
    return round(summary.fit_seconds / summary.plain_seconds / PICTURES, 2)


def table(found: Sequence[dict[str, Any]]) -> str:
    """One row for each model and count: PSNR in dB, and what the fit took."""
    lines = [
        "| | computed | `accelerate` | Taylor 1 | Taylor 2 | `variable-order` "
        "| plain runs | steps |",
        "|---|---:|---:|---:|---:|---:|---:|---|",
    ]
    for name, count in dict.fromkeys((row["model"], row["count"]) for row in found):
        own = {row["what"]: row for row in found if (row["model"], row["count"]) == (name, count)}
        values = [f"{own[what]['latent_psnr_db']:.1f}" for what in ("accelerate", *FORMULAS)]
        learned = own["accelerate"]
        steps = " ".join(map(str, learned["computed"]))
        cells = [f"`{name}`", str(count), *values, f"{learned['fit_plain_runs']:.1f}", steps]
        lines.append(f"| {' | '.join(cells)} |")
    return "\n".join(lines)


def report(found: Sequence[dict[str, Any]]) -> None:
    put(DOCUMENT, "table", table(found))


def main() -> None:
    logging.set_verbosity_error()
    only_report = "--report" in sys.argv
    names = [] if only_report else sys.argv[1:] or list(MODELS)
    path = RESULTS / "accelerated.json"
    known = json.loads(path.read_text())["rows"] if path.exists() else []
    for name in names:
        fresh = rows(name)
        known = [row for row in known if row["model"] != name] + fresh
        record("accelerated", known)
    report(sorted(known, key=lambda row: MODELS.index(row["model"])))


if __name__ == "__main__":
    main()
