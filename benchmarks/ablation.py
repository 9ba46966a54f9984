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
from forecastcache import zoo
from forecastcache.evaluation.metrics import psnr, ssim
from forecastcache.sampling import Request, load
from forecastcache.zoo.appraisal import Critic
from forecastcache.zoo.judge import Judge

MODEL = "zoo:dit-digits"
COUNT = 120
INTERVALS = range(3, 9)
ORDERS = range(5)
FIRST = 2  # as TaylorSeer runs DiT
DOCUMENT = Path(__file__).parents[1] / "docs" / "ablation.md"
METRICS = {
    "psnr_db": ("PSNR to the plain run, dB", "{:.1f}"),
    "ssim": ("SSIM to the plain run", "{:.4f}"),
    "accuracy": ("Share judged as asked", "{:.1%}"),
    "frechet": ("Fréchet distance to real pictures", "{:.1f}"),
}


def rows() -> list[dict[str, Any]]:
    pipe = load(MODEL)
    pipe.set_progress_bar_config(disable=True)
    request = Request.of(MODEL, classes=[str(i % 60) for i in range(COUNT)])
    recipe = zoo.recipe(MODEL)
    asked = recipe.asked(request.arguments(pipe)["class_labels"])
    critic = Critic(Judge.load(), asked, recipe.real())
    plain = request.sample(pipe)

    def row(pictures: torch.Tensor, **setting: Any) -> dict[str, Any]:
        scores = critic.score(pictures)._asdict()
        return {**setting, "ssim": ssim(pictures, plain), **scores}

    found = [row(plain, site="plain")]
    for site in ("output", "module"):
        for interval in INTERVALS:
            for order in ORDERS:
                with fc.attach(pipe, fc.Every(interval, FIRST), fc.Taylor(order), site=site) as it:
                    pictures = request.sample(pipe)
                computed = len(it.report().computed)
                setting = {"site": site, "interval": interval, "order": order}
                near = psnr(pictures, plain)
                found.append(row(pictures, **setting, computed=computed, psnr_db=near))
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
        lines.append(f"| {interval} ({at[0]['computed']}) | {values} |")
    return "\n".join(lines)


def main() -> None:
    logging.set_verbosity_error()
    found = rows()
    record("ablation", found)
    plain = found[0]
    about = (
        f"The plain run: {plain['accuracy']:.1%} judged as asked, Fréchet distance "
        f"{plain['frechet']:.1f}."
    )
    tables = [table(found, site, metric) for site in ("module", "output") for metric in METRICS]
    start, end = "<!-- tables -->", "<!-- end of tables -->"
    before, _, rest = DOCUMENT.read_text().partition(start)
    after = rest.partition(end)[2]
    inside = "\n\n".join([about, *tables])
    DOCUMENT.write_text(f"{before}{start}\n\n{inside}\n\n{end}{after}")


if __name__ == "__main__":
    main()
