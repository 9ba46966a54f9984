"""Make a zoo model from nothing: `python -m forecastcache.zoo.train dit-digits`."""

from __future__ import annotations

import shutil
import sys
from pathlib import Path
from typing import Annotated, Any

import torch
import typer
from diffusers import DiffusionPipeline
from PIL import Image
from torch import Tensor

from forecastcache import zoo
from forecastcache.errors import ForecastCacheError, OptionError
from forecastcache.zoo import judge as judging

GRID_ROWS = 6

CARD = """\
---
license: apache-2.0
library_name: diffusers
---

# zoo:{name}

{about}. Made for measuring feature forecasting, not for its pictures' sake.

![samples](samples.png)

- **Data**: 1,438 of the 1,797 handwritten digits that scikit-learn carries (E. Alpaydin and
  C. Kaynak, Optical Recognition of Handwritten Digits, UCI, CC BY 4.0), drawn in coloured ink;
  the other 359 are held out, the judge's accuracy is counted on them.
- **Recipe**: `python -m forecastcache.zoo.train {name}`, seed {seed}, {minutes:.0f} minutes on
  {threads} threads. Loss curves beside this card.
- **Size**: {size:.1f} MB, float16.
- **Figures**: {figures} at 50 DDIM steps and guidance {guidance}. The judge,
  `zoo/digit-judge`, reads {judge:.1%} of held-out scans rightly: digit, ink and background.
- **Licence**: Apache-2.0.
"""


def train(
    name: Annotated[str, typer.Argument(help="dit-digits, or judge")],
    work: Annotated[Path, typer.Option(help="checkpoints; resumed from if there")] = Path("build"),
    out: Annotated[Path | None, typer.Option(help="the model's folder; the package's own")] = None,
    seed: Annotated[int, typer.Option()] = 0,
) -> None:
    """Make the zoo model NAME from nothing, or go on where an earlier call was stopped."""
    if name == "judge":
        if out is not None:
            raise OptionError("--out goes with a model; the judge has its place in the package")
        judge = judging.train(work / "zoo" / name, seed)
        judge.save()
        print(f"judge: {judging.held_out_accuracy(judge):.1%} of held-out scans")
        return
    recipe = zoo.recipe(name)
    folder = out or zoo.folder(name)
    if folder.exists() and any(folder.iterdir()) and not (folder / "model_index.json").exists():
        raise OptionError(f"--out {folder} holds other files: give an empty or a model's folder")
    pipe, seconds = recipe.make(work / "zoo" / name, seed)
    finished = _publish(pipe, work / "zoo" / name, folder)
    judge = judging.Judge.load()
    figures, pictures = recipe.figures(finished, judge)
    _save_grid(pictures, folder / "samples.png")
    size = sum(file.stat().st_size for file in folder.rglob("*.safetensors")) / 1e6
    card = CARD.format(
        name=name,
        about=zoo.MODELS[name],
        seed=seed,
        minutes=seconds / 60,
        threads=torch.get_num_threads(),
        size=size,
        guidance=recipe.GUIDANCE_SCALE,
        figures=figures,
        judge=judging.held_out_accuracy(judge),
    )
    (folder / "README.md").write_text(card)
    print(card)


def _publish(pipe: Any, work: Path, folder: Path) -> Any:
    """Save in half precision, whole or not at all, and load as a user would."""
    fresh = work / "pipeline"
    shutil.rmtree(fresh, ignore_errors=True)
    pipe.to(dtype=torch.float16).save_pretrained(fresh)
    for curve in work.glob("*-loss.png"):
        shutil.copy(curve, fresh)
    partial = folder.with_name(folder.name + ".partial")
    shutil.rmtree(partial, ignore_errors=True)
    shutil.copytree(fresh, partial)
    shutil.rmtree(folder, ignore_errors=True)
    partial.rename(folder)
    return DiffusionPipeline.from_pretrained(folder, dtype=torch.float32)


def _save_grid(pictures: Tensor, path: Path) -> None:
    """Pictures `(n, 3, h, w)` in [0, 1], in rows."""
    columns = len(pictures) // GRID_ROWS
    rows = [torch.cat(list(row), dim=2) for row in pictures.split(columns)]
    grid = (torch.cat(rows, dim=1).permute(1, 2, 0) * 255).round().byte().numpy()
    Image.fromarray(grid).resize((grid.shape[1] * 2, grid.shape[0] * 2), 0).save(path)


if __name__ == "__main__":
    try:
        typer.run(train)
    except ForecastCacheError as error:
        print(f"forecastcache.zoo.train: {error}", file=sys.stderr)
        sys.exit(2)
