"""What calibration costs, and how many prompts it needs: docs/prompts.png.

python benchmarks/calibration.py [zoo:NAME]
"""

from __future__ import annotations

import sys
from itertools import pairwise
from pathlib import Path
from typing import Any

import torch
from diffusers.utils import logging
from fidelity import LATE, REFERENCE, Fidelity
from matplotlib.figure import Figure
from measure import paired, record, seconds

import forecastcache as fc
from forecastcache.calibration.fit import roll
from forecastcache.calibration.gram import open_loop_rows
from forecastcache.calibration.recording import record as recorded
from forecastcache.sampling.loading import load
from forecastcache.sampling.request import Request

COUNTS = (1, 2, 5, 10, 20, 50, 100)  # prompts
SAMPLES = 64  # held out
PAIRS = 9
BATCH = 8
KNEE = 0.5  # dB below the best: the fewest prompts within it
PICTURE = Path(__file__).parents[1] / "docs" / "prompts.png"


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
    """Held-out PSNR of rows fitted to more and more prompts."""
    held_out = Fidelity(pipe, Request.of(name, count=SAMPLES), SAMPLES)
    whole = Request.of(name, split="calibration", count=COUNTS[-1], seed=1000)
    each = whole.split(pipe, 1)
    found, sums, samples = [], [], []
    for before, count in pairwise((0, *COUNTS)):
        new = Request.joined(each[before:count])
        recording, states = recorded(pipe, lambda new=new: new.run(pipe), count - before)
        sums.append(recording)
        samples.append(states)
        together = sum(sums[1:], sums[0])
        plain = [torch.cat(parts) for parts in zip(*samples)]
        known = Request.joined(each[:count])
        rolled = roll(
            pipe, lambda known=known: known.run(pipe), plain, together.motion, LATE.steps
        )
        opened = open_loop_rows(together.gram, LATE.steps)
        found.append(
            {"model": name, "prompts": count,
             "closed_latent_psnr_db": held_out.psnr(LATE, fc.Learned(rolled.rows)),
             "open_latent_psnr_db": held_out.psnr(LATE, fc.Learned(opened))}
        )  # fmt: skip
        print(found[-1], flush=True)
    return found


def knee(found: list[dict[str, Any]]) -> int:
    best = max(row["closed_latent_psnr_db"] for row in found)
    return next(row["prompts"] for row in found if row["closed_latent_psnr_db"] >= best - KNEE)


def draw(found: list[dict[str, Any]]) -> None:
    figure = Figure(figsize=(6, 3.5), layout="constrained")
    axes = figure.add_subplot(
        xscale="log", xlabel="calibration prompts",
        ylabel=f"PSNR on {SAMPLES} held-out samples, dB",
        title=f"{found[0]['model']}, computed {' '.join(map(str, LATE.steps))} of 50",
    )  # fmt: skip
    for loop, marker in (("closed", "o"), ("open", "s")):
        values = [row[f"{loop}_latent_psnr_db"] for row in found]
        axes.plot(COUNTS, values, marker=marker, label=f"{loop} loop")
    at = knee(found)
    axes.axvline(at, color="grey", linestyle=":", label=f"{at}: within {KNEE} dB of the best")
    axes.set_xticks(COUNTS, list(map(str, COUNTS)))
    axes.minorticks_off()
    axes.grid(alpha=0.3)
    axes.legend()
    figure.savefig(PICTURE, dpi=150)


def main() -> None:
    logging.set_verbosity_error()
    name = sys.argv[1] if len(sys.argv) > 1 else "zoo:flux-digits"
    pipe = load(name)
    pipe.set_progress_bar_config(disable=True)
    found = by_prompts(pipe, name)
    draw(found)
    record("calibration", [*costs(pipe, name), *found, {"knee": knee(found)}])


if __name__ == "__main__":
    main()
