"""Interval and order, as in the ablation of TaylorSeer (2503.06923, Table 4): docs/ablation.md.

python benchmarks/ablation.py [zoo:NAME ...]
python benchmarks/ablation.py --report        writes the page again
"""

from __future__ import annotations

import json
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from diffusers.utils import logging
from measure import RESULTS, put, record

import forecastcache as fc
from forecastcache.metrics.psnr import psnr
from forecastcache.metrics.ssim import ssim
from forecastcache.sampling.loading import load
from forecastcache.sampling.request import Request
from forecastcache.zoo.scores import scorer_of


@dataclass(frozen=True)
class Ablation:
    """What is varied of a model.

    Attributes:
        count: number of samples.
        intervals: of `Every`.
        orders: of `Taylor`.
        first: steps computed first.
        asked: whether it is asked by class.
    """

    count: int
    intervals: Sequence[int]
    orders: Sequence[int]
    first: int
    asked: bool = False


MODELS = {
    # `first` as TaylorSeer runs DiT and FLUX.
    "zoo:dit-digits": Ablation(120, range(3, 9), range(5), 2, asked=True),
    "zoo:flux-emoji": Ablation(16, (4, 6, 8), range(4), 3),
    "zoo:qwen-lightning": Ablation(32, range(2, 5), range(3), 1),
}
SITES = ("module", "output")
DOCUMENT = Path(__file__).parents[1] / "docs" / "ablation.md"
METRICS = {
    "psnr_db": ("PSNR of samples to the plain run, dB", "{:.1f}"),
    "ssim": ("SSIM of samples to the plain run", "{:.4f}"),
    "accuracy": ("Share judged as asked", "{:.1%}"),
    "frechet": ("Fréchet distance to real pictures", "{:.1f}"),
}


def rows(model: str) -> list[dict[str, Any]]:
    varied = MODELS[model]
    pipe = load(model)
    pipe.set_progress_bar_config(disable=True)
    asked: dict[str, Any] = {"count": varied.count}
    if varied.asked:
        asked = {"classes": [str(i % 60) for i in range(varied.count)]}
    request = Request.of(model, **asked)
    scorer = scorer_of(model, request.arguments(pipe))
    plain = request.sample(pipe)

    def row(pictures: torch.Tensor, **setting: Any) -> dict[str, Any]:
        scores = scorer.score(pictures)._asdict()
        return {"model": model, **setting, "ssim": ssim(pictures, plain), **scores}

    found = [row(plain, site="plain", steps=request.steps, samples=len(plain))]
    for site in SITES:
        for interval in varied.intervals:
            for order in varied.orders:
                schedule, taylor = fc.Every(interval, varied.first), fc.Taylor(order)
                with fc.attach(pipe, schedule, taylor, site=site) as session:
                    pictures = request.sample(pipe)
                count = len(session.report().computed)
                setting = {"site": site, "interval": interval, "order": order}
                near = psnr(pictures, plain)
                found.append(row(pictures, **setting, count=count, psnr_db=near))
                print(found[-1], flush=True)
    return found


def table(found: list[dict[str, Any]], site: str, metric: str) -> str:
    title, form = METRICS[metric]
    model, steps = found[0]["model"], found[0]["steps"]
    varied = MODELS[model]
    lines = [
        f"**{title}**, `{site}`",
        "",
        f"| interval (computed of {steps}) | "
        + " | ".join(f"order {m}" for m in varied.orders)
        + " |",
        "|---|" + "---|" * len(varied.orders),
    ]
    for interval in varied.intervals:
        at = [it for it in found if (it["site"], it.get("interval")) == (site, interval)]
        values = " | ".join(form.format(it[metric]) for it in at)
        lines.append(f"| {interval} ({at[0]['count']}) | {values} |")
    return "\n".join(lines)


def inside(found: list[dict[str, Any]]) -> str:
    """What stands between the page's markers of one model."""
    plain = found[0]
    intro = (
        f"The plain run: {plain['accuracy']:.1%} judged as asked, Fréchet distance "
        f"{plain['frechet']:.1f}."
    )
    return "\n\n".join([intro, *(table(found, site, it) for site in SITES for it in METRICS)])


def report(found: list[dict[str, Any]]) -> None:
    for model in dict.fromkeys(row["model"] for row in found):
        put(DOCUMENT, model, inside([row for row in found if row["model"] == model]))


def main() -> None:
    logging.set_verbosity_error()
    path = RESULTS / "ablation.json"
    known = json.loads(path.read_text())["rows"] if path.exists() else []
    asked = [it for it in sys.argv[1:] if it != "--report"] or list(MODELS)
    for model in asked if "--report" not in sys.argv else ():
        fresh = [row for row in known if row["model"] != model] + rows(model)
        known = sorted(fresh, key=lambda row: list(MODELS).index(row["model"]))
        record("ablation", known)
    report(known)


if __name__ == "__main__":
    main()
