"""Interval and order, as in the ablation of TaylorSeer (2503.06923, Table 4): docs/ablation.md.

python benchmarks/ablation.py
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
from diffusers.utils import logging
from measure import record

import forecastcache as fc
from forecastcache.evaluation.metrics import psnr, ssim
from forecastcache.sampling.loading import load
from forecastcache.sampling.request import Request
from forecastcache.zoo.scores import scorer_of

MODEL = "zoo:dit-digits"
COUNT = 120
INTERVALS = range(3, 9)
ORDERS = range(5)
FIRST = 2  # as TaylorSeer runs DiT
DOCUMENT = Path(__file__).parents[1] / "docs" / "ablation.md"
METRICS = {
    "psnr_db": ("PSNR of samples to the plain run, dB", "{:.1f}"),
    "ssim": ("SSIM of samples to the plain run", "{:.4f}"),
    "accuracy": ("Share judged as asked", "{:.1%}"),
    "frechet": ("Fréchet distance to real pictures", "{:.1f}"),
}


def rows() -> list[dict[str, Any]]:
    pipe = load(MODEL)
    pipe.set_progress_bar_config(disable=True)
    request = Request.of(MODEL, classes=[str(i % 60) for i in range(COUNT)])
    scorer = scorer_of(MODEL, request.arguments(pipe))
    plain = request.sample(pipe)

    def row(pictures: torch.Tensor, **setting: Any) -> dict[str, Any]:
        scores = scorer.score(pictures)._asdict()
        return {**setting, "ssim": ssim(pictures, plain), **scores}

    found = [row(plain, site="plain")]
    for site in ("output", "module"):
        for interval in INTERVALS:
            for order in ORDERS:
                schedule, taylor = fc.Every(interval, FIRST), fc.Taylor(order)
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
    lines = [
        f"**{title}**, `{site}`",
        "",
        "| interval (computed of 50) | " + " | ".join(f"order {m}" for m in ORDERS) + " |",
        "|---|" + "---|" * len(ORDERS),
    ]
    for interval in INTERVALS:
        at = [it for it in found if (it["site"], it.get("interval")) == (site, interval)]
        values = " | ".join(form.format(it[metric]) for it in at)
        lines.append(f"| {interval} ({at[0]['count']}) | {values} |")
    return "\n".join(lines)


def main() -> None:
    logging.set_verbosity_error()
    found = rows()
    record("ablation", found)
    plain = found[0]
    intro = (
        f"The plain run: {plain['accuracy']:.1%} judged as asked, Fréchet distance "
        f"{plain['frechet']:.1f}."
    )
    tables = [table(found, site, metric) for site in ("module", "output") for metric in METRICS]
    start, end = "<!-- tables -->", "<!-- end of tables -->"
    before, _, rest = DOCUMENT.read_text().partition(start)
    after = rest.partition(end)[2]
    inside = "\n\n".join([intro, *tables])
    DOCUMENT.write_text(f"{before}{start}\n\n{inside}\n\n{end}{after}")


if __name__ == "__main__":
    main()
