"""On what forecasts are hard, and why: docs/hard.md.

python benchmarks/hard.py [--report]

Held-out samples. `--report` writes the page again from results/hard.json.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import torch
from diffusers.utils import logging
from few_steps import chosen
from measure import RESULTS, record
from torch import Tensor

import forecastcache as fc
from forecastcache.calibration.fits import decibels
from forecastcache.sampling.loading import load
from forecastcache.sampling.request import Request
from forecastcache.sampling.trajectory import trajectory_of

PAGE = Path(__file__).parents[1] / "docs" / "hard.md"
SAMPLES, STEPS = 16, 50
EMOJI, TRUE, DIT = "zoo:flux-emoji", "zoo:flux-emoji-true", "zoo:dit-digits"
SCALES = {EMOJI: (1.0, 3.0, 5.0, 7.0), TRUE: (3.0, 4.0, 5.0, 7.0), DIT: (1.0, 2.0, 4.0, 7.0)}
PUBLISHED = "TaylorSeer as published"
WAYS: dict[str, dict[str, Any]] = {
    PUBLISHED: {"schedule": fc.Every(6, first=3), "predictor": fc.Taylor(1), "site": "module"},
    "TaylorSeer, order 2": {
        "schedule": fc.Every(6, first=3), "predictor": fc.Taylor(2), "site": "module",
    },
    "reuse": {"schedule": fc.Every(6, first=3), "predictor": fc.Reuse(), "site": "module"},
    "Warped(10), Taylor 1": {"schedule": fc.Warped(10), "predictor": fc.Taylor(1)},
    "Warped(18), Taylor 1": {"schedule": fc.Warped(18), "predictor": fc.Taylor(1)},
}  # fmt: skip
THIRDS = {"first": range(17), "second": range(17, 34), "last": range(34, STEPS)}


class Runs:
    """Plain runs of one model, and how near others end to them.

    Args:
        model: name of the model.
        scale: guidance scale.
    """

    def __init__(self, model: str, scale: float) -> None:
        self.pipe = load(model)
        self.pipe.set_progress_bar_config(disable=True)
        name = "true_cfg_scale" if model == TRUE else "guidance_scale"
        self.request = Request.of(model, count=SAMPLES, steps=STEPS, call={name: scale})
        self.plain = self._run()

    def near(self, schedule: fc.Schedule, predictor: fc.Predictor, site: Any = "output") -> Tensor:
        """PSNR in dB of every sample and of its latents, `(2, n)`."""
        with fc.attach(self.pipe, schedule, predictor, site=site):
            found = self._run()
        ranges = (1.0, 2.0)  # of samples, of latents
        return torch.tensor(
            [
                [decibels(error * (2 / data_range) ** 2) for error in _errors(one, other)]
                for one, other, data_range in zip(found, self.plain, ranges)
            ]
        )

    def _run(self) -> tuple[Tensor, Tensor]:
        pictures, latents = [], []
        for part in self.request.split(self.pipe, 8):
            with trajectory_of(self.pipe, len(part)) as trajectory:
                pictures.append(part.sample(self.pipe))
            latents.append(trajectory.samples[-1])
        return torch.cat(pictures), torch.cat(latents)


def _errors(found: Tensor, plain: Tensor) -> list[float]:
    return (found - plain).double().square().flatten(1).mean(1).tolist()


def by_guidance() -> Iterator[dict[str, Any]]:
    """Every way at every guidance scale."""
    for model, scales in SCALES.items():
        for scale in scales:
            runs = Runs(model, scale)
            for way, options in WAYS.items():
                samples, latents = runs.near(**options).mean(1).tolist()
                computed = len(options["schedule"].computed(STEPS))
                yield {
                    "model": model, "guidance": scale, "way": way, "computed": computed,
                    "psnr_db": samples, "latent_psnr_db": latents,
                }  # fmt: skip


def by_third() -> Iterator[dict[str, Any]]:
    """Every sixth step computed in one third of the run, and every step in the others."""
    for model in (EMOJI, TRUE):
        runs = Runs(model, 5.0)
        for third, steps in THIRDS.items():
            computed = [it for it in range(STEPS) if it not in steps or it % 6 == 0]
            samples, latents = runs.near(fc.Listed(computed), fc.Taylor(1)).mean(1).tolist()
            yield {
                "model": model, "third": third, "psnr_db": samples, "latent_psnr_db": latents,
            }  # fmt: skip


def by_detail() -> Iterator[dict[str, Any]]:
    """Quarters of the samples, from the smoothest to those of most detail."""
    for model in (EMOJI, TRUE):
        runs = Runs(model, 5.0)
        samples, _ = runs.near(**WAYS[PUBLISHED])
        detail = _detail(runs.plain[0])
        order = detail.argsort()
        for quarter, picked in enumerate(order.chunk(4), 1):
            yield {
                "model": model, "quarter": quarter, "detail": detail[picked].mean().item(),
                "psnr_db": samples[picked].mean().item(),
            }  # fmt: skip


def by_learning() -> Iterator[dict[str, Any]]:
    """What is learned from four pictures, where a straight line fails."""
    for model, scale in ((EMOJI, 5.0), (TRUE, 5.0), (DIT, 4.0)):
        runs = Runs(model, scale)
        asked = Request.of(model, "calibration", count=4, seed=1000, call=runs.request.call)
        for count in (10, 18):
            samples, latents = runs.near(*chosen(runs.pipe, asked, count)).mean(1).tolist()
            yield {
                "model": model, "guidance": scale, "learned": count, "psnr_db": samples,
                "latent_psnr_db": latents,
            }  # fmt: skip


def _detail(pictures: Tensor) -> Tensor:
    """The mean difference of neighbouring pixels, `(n,)`."""
    across, along = pictures.diff(dim=-1).abs(), pictures.diff(dim=-2).abs()
    return across.flatten(1).mean(1) + along.flatten(1).mean(1)


def rounded(rows: Iterator[dict[str, Any]]) -> list[dict[str, Any]]:
    return [
        {name: round(it, 3) if isinstance(it, float) else it for name, it in row.items()}
        for row in rows
    ]


def report(rows: Sequence[dict[str, Any]]) -> None:
    """Write the page."""
    guided, thirds, quarters, learned = (
        [it for it in rows if key in it] for key in ("way", "third", "quarter", "learned")
    )
    head = " | ".join(f"{way} ({_computed(guided, way)})" for way in WAYS)
    lines = [
        f"| model | guidance | {head} |", "|---|---|" + "---|" * len(WAYS),
    ]  # fmt: skip
    for model, scales in SCALES.items():
        for scale in scales:
            found = [it for it in guided if (it["model"], it["guidance"]) == (model, scale)]
            cells = (f"{it['psnr_db']:.1f} / {it['latent_psnr_db']:.1f}" for it in found)
            lines.append(f"| {model} | {scale:g} | {' | '.join(cells)} |")
    tables = {
        "GUIDANCE": "\n".join(lines),
        "THIRDS": _table(thirds, ("model", "third", "psnr_db", "latent_psnr_db")),
        "QUARTERS": _table(quarters, ("model", "quarter", "detail", "psnr_db")),
        "LEARNED": _table(learned, ("model", "guidance", "learned", "psnr_db", "latent_psnr_db")),
    }
    text = PAGE.read_text(encoding="utf-8")
    for name, table in tables.items():
        mark = f"<!-- {name} -->"
        before, _, rest = text.partition(mark)
        after = rest.partition("\n\n")[2]
        text = f"{before}{mark}\n{table}\n\n{after}"
    PAGE.write_text(text, encoding="utf-8")


def _computed(rows: Sequence[dict[str, Any]], way: str) -> int:
    return next(int(it["computed"]) for it in rows if it["way"] == way)


def _table(rows: Sequence[dict[str, Any]], columns: Sequence[str]) -> str:
    words = {
        "psnr_db": "PSNR of samples, dB", "latent_psnr_db": "PSNR of latents, dB",
        "learned": "steps computed", "quarter": "quarter of the samples",
        "third": "third of the run that is forecast",
    }  # fmt: skip
    lines = [" | ".join(words.get(it, it) for it in columns), " | ".join(["---"] * len(columns))]
    for row in rows:
        cells = (row[it] for it in columns)
        lines.append(
            " | ".join(
                (f"{it:.1f}" if it > 1 else f"{it:.3f}") if isinstance(it, float) else str(it)
                for it in cells
            )
        )
    return "\n".join(f"| {line} |" for line in lines)


if __name__ == "__main__":
    logging.set_verbosity_error()
    torch.set_num_threads(1)
    if "--report" not in sys.argv:
        parts = (by_guidance, by_third, by_detail, by_learning)
        record("hard", [row for part in parts for row in rounded(part())])
    report(json.loads((RESULTS / "hard.json").read_text())["rows"])
