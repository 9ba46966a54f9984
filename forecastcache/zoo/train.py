"""Make a zoo model from nothing: `python -m forecastcache.zoo.train flux-digits`."""

from __future__ import annotations

import shutil
import sys
from pathlib import Path
from typing import Annotated, Any

import torch
import typer
from diffusers import DiffusionPipeline, ModelMixin
from PIL import Image
from safetensors import safe_open
from torch import Tensor

from forecastcache import zoo
from forecastcache.errors import ForecastCacheError, OptionError
from forecastcache.sampling import Request
from forecastcache.zoo import judge as judging
from forecastcache.zoo.appraisal import Critic

SAMPLES = 300
CLIPS = 100
BATCH = 50
COLUMNS = 10
COLOURS = 128  # of a grid

CARD = """\
---
license: apache-2.0
library_name: diffusers
---

# zoo:{name}

{about}. Made for measuring feature forecasting, not for its pictures' sake.

![samples](samples.png)

```python
import torch
from diffusers import DiffusionPipeline
from forecastcache import zoo

pipe = DiffusionPipeline.from_pretrained(zoo.folder("{name}"), dtype=torch.float32)
samples = pipe({example}, **zoo.entry("{name}").call).{output}
```

- **Called with** {call}.
- **Data**: 1,438 of the 1,797 handwritten digits that scikit-learn carries (E. Alpaydin and
  C. Kaynak, Optical Recognition of Handwritten Digits, UCI, CC BY 4.0), drawn in coloured ink.
  120 others are for calibration, 239 are held out.{captions}
- **Recipe**: `python -m forecastcache.zoo.train {name}`, seed {seed}, {minutes:.0f} minutes on
  {threads}. Loss curves beside this card.
- **Size**: {size:.1f} MB, {precision}; the transformer has {parameters:.1f} million parameters.
- **Figures**: {accuracy:.1%} of {count} samples of 50 steps are judged as asked ({asked}); Fréchet
  distance to held-out {kind} in the judge's features {frechet:.1f}. The judge,
  `zoo/digit-judge`, reads {still:.1%} of held-out scans rightly in every respect, and {moving:.1%}
  of them in motion.
- **Licence**: Apache-2.0.
"""
HELD_OUT_CAPTIONS = """ Captions are split by
  combination of digit, ink and background: a tenth is held out, a tenth is for calibration;
  neither was trained on. The samples above and the figures below are of held-out captions."""


def train(
    name: Annotated[str, typer.Argument(help=", ".join([*zoo.MODELS, "judge"]))],
    work: Annotated[Path, typer.Option(help="checkpoints; resumed from if there")] = Path("build"),
    out: Annotated[Path | None, typer.Option(help="the model's folder; the package's own")] = None,
    seed: Annotated[int, typer.Option()] = 0,
    samples: Annotated[int | None, typer.Option(min=2, help="that figures are counted on")] = None,
) -> None:
    """Make the zoo model NAME from nothing, or go on where an earlier call was stopped."""
    if name == "judge":
        if out is not None:
            raise OptionError("--out goes with a model; the judge has its place in the package")
        judge = judging.train(work / "zoo" / name, seed)
        judge.save()
        still, moving = judging.held_out_accuracy(judge)
        print(f"judge: {still:.1%} of held-out scans, {moving:.1%} in motion")
        return
    recipe = zoo.recipe(name)
    folder = out or zoo.place(name)
    if folder.exists() and any(folder.iterdir()) and not (folder / "model_index.json").exists():
        raise OptionError(f"--out {folder} holds other files: give an empty or a model's folder")
    pipe, seconds = recipe.make(work / "zoo" / name, seed)
    finished = _publish(pipe, work / "zoo" / name, folder)
    card = _appraise(name, finished, folder, samples, seed=seed, minutes=seconds / 60)
    (folder / "README.md").write_text(card)
    print(card)


def _appraise(
    name: str, pipe: Any, folder: Path, count: int | None, seed: int, minutes: float
) -> str:
    """Sample what was made, save a grid of it and say in a card how good it is."""
    entry, recipe, judge = zoo.entry(name), zoo.recipe(name), judging.Judge.load()
    request = Request.of(
        zoo.PREFIX + name,
        count=count or (CLIPS if entry.moving else SAMPLES),
        classes=() if entry.words else [str(it) for it in sorted(set(pipe.labels.values()))],
    )
    arguments = request.arguments(pipe)
    conditions = arguments["prompt" if entry.words else "class_labels"]
    pictures = torch.cat([part.sample(pipe) for part in request.split(pipe, BATCH)])
    scores = Critic(judge, recipe.asked(conditions), recipe.real()).score(pictures)
    _save_grid(pictures, folder / "samples.png")
    still, moving = judging.held_out_accuracy(judge)
    files = [file for file in folder.rglob("*.safetensors")]
    return CARD.format(
        name=name,
        about=entry.about,
        call=", ".join(f"`{key}={value!r}`" for key, value in entry.call.items()),
        output="frames" if entry.moving else "images",
        example=f'"{conditions[0]}"' if entry.words else "pipe.get_label_ids(['red seven'])",
        captions=HELD_OUT_CAPTIONS if entry.words else "",
        asked="digit, ink, background" + ", motion" * entry.moving,
        kind="clips" if entry.moving else "pictures",
        seed=seed,
        minutes=minutes,
        threads=f"{torch.get_num_threads()} thread" + "s" * (torch.get_num_threads() > 1),
        size=sum(file.stat().st_size for file in files) / 1e6,
        precision=_precision(folder),
        parameters=pipe.transformer.num_parameters() / 1e6,
        accuracy=scores.accuracy,
        count=len(pictures),
        frechet=scores.frechet,
        still=still,
        moving=moving,
    )


def _precision(folder: Path) -> str:
    with safe_open(next((folder / "transformer").glob("*.safetensors")), "pt") as file:
        return str(file.get_tensor(next(iter(file.keys()))).dtype).removeprefix("torch.")


def _publish(pipe: Any, work: Path, folder: Path) -> Any:
    """Save in half precision, whole or not at all, and load as a user would."""
    fresh = work / "pipeline"
    shutil.rmtree(fresh, ignore_errors=True)
    for component in pipe.components.values():
        # Text encoders, small as they are, stay in float32: transformers loads what was saved, and
        # diffusers float32, and the two must meet.
        if isinstance(component, ModelMixin):
            component.to(dtype=torch.bfloat16)
    pipe.save_pretrained(fresh)
    for curve in work.glob("*-loss.png"):
        shutil.copy(curve, fresh)
    partial = folder.with_name(folder.name + ".partial")
    shutil.rmtree(partial, ignore_errors=True)
    shutil.copytree(fresh, partial)
    shutil.rmtree(folder, ignore_errors=True)
    partial.rename(folder)
    return DiffusionPipeline.from_pretrained(folder, dtype=torch.float32)


def _save_grid(pictures: Tensor, path: Path) -> None:
    """Samples in [0, 1], `(n, 3, h, w)`: in rows of ten; of clips, every other frame in a row."""
    if pictures.dim() == 5:
        rows = [torch.cat(list(clip[::2]), dim=2) for clip in pictures[: 2 * COLUMNS]]
        rows = [torch.cat(pair, dim=2) for pair in zip(rows[::2], rows[1::2])]
    else:
        columns = min(COLUMNS, len(pictures))
        shown = pictures[: len(pictures) // columns * columns][: 6 * columns]
        rows = [torch.cat(list(row), dim=2) for row in shown.split(columns)]
    grid = (torch.cat(rows, dim=1).permute(1, 2, 0) * 255).round().byte().numpy()
    size = (grid.shape[1] * 2, grid.shape[0] * 2)
    picture = Image.fromarray(grid).resize(size, Image.Resampling.NEAREST)
    picture.quantize(COLOURS).save(path, optimize=True)


if __name__ == "__main__":
    try:
        typer.run(train)
    except ForecastCacheError as error:
        print(f"forecastcache.zoo.train: {error}", file=sys.stderr)
        sys.exit(2)
