"""Other media: does what holds of pictures hold of super-resolution and of sound? docs/media.md.

python benchmarks/media/run.py [upscale | sound]   trains what is not trained, measures, writes
python benchmarks/media/run.py --report            writes the page again

TaylorSeer (2503.06923, section 11) says so. Small models are trained for it, in `build/media`; a
training that was stopped goes on.
"""

from __future__ import annotations

import json
import sys
from importlib import import_module
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import torch
from diffusers.utils import logging
from torch import Tensor

sys.path.insert(0, str(Path(__file__).parents[1]))
from measure import RESULTS, put, record

import forecastcache as fc
from forecastcache.evaluation.style import drawing
from forecastcache.metrics.psnr import psnr
from forecastcache.zoo.training import fit

ROOT = Path(__file__).parents[2]
PAGE, WORK = ROOT / "docs" / "media.md", ROOT / "build" / "media"
MEDIA = ("upscale", "sound")
TITLES = {"upscale": "Digits of 8x8 pixels, upscaled", "sound": "Spectrograms of sounds"}
SAMPLES, PICTURES = 32, 4
COUNTS = (6, 10, 18)
NAMES = {
    "reuse": "reuse",
    "taylor:order=1": "Taylor 1",
    "taylor:order=2": "Taylor 2",
    "variable-order": "variable order",
}
FORMULAS = tuple(NAMES)
PUBLISHED = fc.Every(6, first=3)  # 10 computed of 50


class Medium:
    """A trained pipeline, and its plain run of held-out samples.

    Args:
        name: module beside this one.
    """

    def __init__(self, name: str) -> None:
        self.name, self.recipe = name, import_module(name)
        torch.manual_seed(0)
        self.pipe = self.recipe.pipeline()
        for stage in self.recipe.stages(self.pipe, 0):
            fit(stage, WORK / name)
        self.pipe.set_progress_bar_config(disable=True)
        self.held_out = self.recipe.calls(self.pipe, SAMPLES, seed=1)
        self.plain = self.run()

    def run(self, **changes: Any) -> Tensor:
        """Samples of the held-out call, in [0, 1]."""
        seeds = [torch.Generator().manual_seed(seed) for seed in range(SAMPLES)]
        call = {**self.held_out, **changes}
        found: Tensor = self.recipe.samples(self.pipe(**call, generator=seeds))
        return found

    def row(
        self, what: str, schedule: fc.Schedule, predictor: Any, site: Any = "output"
    ) -> dict[str, Any]:
        with fc.attach(self.pipe, schedule, predictor, site=site) as session:
            made = self.run()
        return self.told(what, site, len(session.report().computed), made)

    def told(self, what: str, site: str, count: int, made: Tensor) -> dict[str, Any]:
        near = psnr(made, self.plain)
        found = {"medium": self.name, "what": what, "site": site, "count": count}
        found["psnr_db"] = round(float(near or 0), 2)
        print(found, flush=True)
        return found

    def draw(self) -> None:
        """A picture of the first samples, plain and forecast."""
        shown = {"plain run": self.plain}
        for count in (10, 6):
            with fc.attach(self.pipe, fc.Warped(count), "taylor:order=1"):
                shown[f"{count} of 50 computed"] = self.run()
        target, size = PAGE.parent / f"{self.name}.png", self.recipe.size(len(shown))
        with drawing(target, size, TITLES[self.name], "50 steps, Taylor of order 1") as figure:
            self.recipe.draw(figure, shown, SAMPLES, 1)

    def learned(self, count: int) -> Any:
        """What `accelerate` learns from four other samples."""
        with TemporaryDirectory() as folder:
            fast = fc.accelerate(
                self.pipe, computed=count, pictures=PICTURES, folder=folder, progress=False
            )
            for number in range(PICTURES):
                one = self.recipe.calls(self.pipe, 1, seed=1000 + number)
                fast(**one, generator=[torch.Generator().manual_seed(1000 + number)])
            file = Path(folder) / "learned"
            fast.save(file)
            return fc.Calibration.load(file).choose(count)


def rows(name: str) -> list[dict[str, Any]]:
    medium = Medium(name)
    worth = medium.recipe.worth(medium.plain, SAMPLES, 1)
    found = [{"medium": name, "what": "plain", "worth": worth}]
    print(found[0], flush=True)
    for site in ("module", "output"):
        for spec in FORMULAS[:3]:
            found.append(medium.row(f"{NAMES[spec]}, as published", PUBLISHED, spec, site))
    for count in COUNTS:
        for spec in FORMULAS:
            found.append(medium.row(f"{NAMES[spec]}, warped", fc.Warped(count), spec))
        found.append(medium.row("accelerate, after 4 samples", *medium.learned(count)))
        made = medium.run(num_inference_steps=count)
        found.append(medium.told("plain, fewer steps", "", count, made))
    medium.draw()
    return found


def table(found: list[dict[str, Any]]) -> str:
    near = {(*_kind(row), row["medium"]): row["psnr_db"] for row in found if "psnr_db" in row}
    lines = ["| | site | computed | " + " | ".join(MEDIA) + " |", "|---|---|---|---|---|"]
    for what, site, count in dict.fromkeys(it[:3] for it in near):
        known = [near.get((what, site, count, medium)) for medium in MEDIA]
        cells = " | ".join("" if it is None else f"{it:.1f}" for it in known)
        lines.append(f"| {what} | {f'`{site}`' if site else ''} | {count} | {cells} |")
    return "\n".join(lines)


def inside(found: list[dict[str, Any]]) -> str:
    """What stands between the page's markers."""
    worth = [f"- {row['medium']}: {row['worth']}." for row in found if "worth" in row]
    return "\n\n".join(["What the plain runs are worth:", "\n".join(worth), table(found)])


def report(found: list[dict[str, Any]]) -> None:
    put(PAGE, "tables", inside(found))


def _kind(row: dict[str, Any]) -> tuple[str, str, int]:
    return row["what"], row["site"], row["count"]


def main() -> None:
    logging.set_verbosity_error()
    path = RESULTS / "media.json"
    known = json.loads(path.read_text())["rows"] if path.exists() else []
    asked = [it for it in sys.argv[1:] if not it.startswith("--")] or list(MEDIA)
    for name in asked if "--report" not in sys.argv else ():
        known = [row for row in known if row["medium"] != name] + rows(name)
        record("media", known)
    report(known)


if __name__ == "__main__":
    main()
