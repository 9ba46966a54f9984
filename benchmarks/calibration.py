"""What calibration costs, and how many prompts it needs: docs/calibration.md.

python benchmarks/calibration.py [zoo:NAME]
"""

from __future__ import annotations

import sys
from typing import Any

from diffusers.utils import logging
from fidelity import LATE, REFERENCE, Fidelity
from measure import paired, record, seconds

import forecastcache as fc
from forecastcache.calibration.gram import open_loop_rows
from forecastcache.calibration.recording import record as recorded
from forecastcache.sampling.loading import load
from forecastcache.sampling.request import Request

COUNTS = (2, 4, 8, 50)  # prompts
NINE, STEPS = 9, 50  # computed steps, and all of them
SAMPLES = 64  # held out
PAIRS = 9
BATCH = 8


def costs(pipe: Any, name: str) -> list[dict[str, Any]]:
    """Of recording, against plain runs of the same prompts, and of open-loop fits."""
    request = Request.of(name, split="calibration", count=BATCH, seed=1000)

    def plain() -> None:
        request.run(pipe)

    recording, _ = recorded(pipe, plain, BATCH)
    took, alone, ratio = paired(lambda: recorded(pipe, plain, BATCH), plain, PAIRS)
    computed = REFERENCE.computed(request.steps)
    fit = seconds(lambda: open_loop_rows(recording.gram, computed))
    return [
        {"model": name, "seconds_recording": took, "seconds_plain": alone, "ratio": ratio},
        {"model": name, "seconds_of_an_open_loop_fit": fit},
    ]


def by_prompts(pipe: Any, name: str) -> list[dict[str, Any]]:
    """Held-out PSNR of nine searched, fitted and refined steps, by the number of prompts."""
    held_out = Fidelity(pipe, Request.of(name, count=SAMPLES), SAMPLES)
    found = []
    for count in COUNTS:
        asked = Request.of(name, split="calibration", count=count, seed=1000)
        made = fc.calibrate(pipe, asked, schedules=[f"search:{NINE}"])
        (fit,) = made.fits
        opened = open_loop_rows(made.recording.gram, LATE.steps)
        found.append(
            {"model": name, "prompts": count, "computed": fit.computed,
             "evaluations": made.evaluations,
             "closed_latent_psnr_db": held_out.psnr(*made.choose(NINE)),
             "told_latent_psnr_db": fit.latent_psnr_db,
             "open_latent_psnr_db": held_out.psnr(LATE, fc.Learned(opened))}
        )  # fmt: skip
        print(found[-1], flush=True)
    return found


def table(found: list[dict[str, Any]]) -> str:
    """Figures by the number of prompts, for docs/calibration.md."""
    lines = [
        "| prompts | plain runs | told | held out, closed loop | held out, open loop |",
        "|---:|---:|---:|---:|---:|",
    ]
    lines += [
        f"| {row['prompts']} | {row['evaluations'] / row['prompts'] / STEPS:.0f} "
        f"| {row['told_latent_psnr_db']:.1f} | {row['closed_latent_psnr_db']:.1f} "
        f"| {row['open_latent_psnr_db']:.1f} |"
        for row in found
    ]
    return "\n".join(lines)


def main() -> None:
    logging.set_verbosity_error()
    name = sys.argv[1] if len(sys.argv) > 1 else "zoo:flux-digits"
    pipe = load(name)
    pipe.set_progress_bar_config(disable=True)
    found = by_prompts(pipe, name)
    print(table(found))
    record("calibration", [*costs(pipe, name), *found])


if __name__ == "__main__":
    main()
