"""Make a zoo model from nothing: `python -m forecastcache.zoo.train flux-digits`."""

from __future__ import annotations

import shutil
import sys
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Annotated, Any

import torch
import typer
from diffusers import DiffusionPipeline, ModelMixin
from PIL import Image
from safetensors import safe_open
from torch import Tensor

from forecastcache import zoo
from forecastcache.errors import ForecastCacheError, OptionError
from forecastcache.sampling.request import Request
from forecastcache.zoo import judge as judging
from forecastcache.zoo.scores import Scorer
from forecastcache.zoo.training import fit

SAMPLES = 300
CLIPS = 100
BATCH = 50
COLUMNS = 10  # of a grid
COLOURS = 128

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
    work = work / "zoo" / name
    if name == "judge":
        if out is not None:
            raise OptionError("--out goes with a model; the judge has its place in the package")
        judge = judging.train_judge(work, seed)
        judge.save()
        still, moving = judging.held_out_accuracy(judge)
        print(f"judge: {still:.1%} of held-out scans, {moving:.1%} in motion")
        return
    folder = out or zoo.place(name)
    _require_own(name, folder)
    trained, seconds = make(name, work, seed)
    pipe = _publish(name, trained, work, folder)
    pictures, asked = _sample(name, pipe, samples)
    _save_grid(pictures, folder / "samples.png")
    card = _card(name, pipe, folder, pictures, asked, seed, minutes=seconds / 60)
    (folder / "README.md").write_text(card)
    print(card)


def make(name: str, work: Path, seed: int = 0) -> tuple[Any, float]:
    """Train the pipeline of a model, or go on with what `work` holds.

    Returns:
        The pipeline, and the seconds of training.
    """
    recipe = zoo.recipe(name)
    torch.manual_seed(seed)
    pipe = recipe.pipeline()
    return pipe, sum(fit(stage, work, seed) for stage in recipe.stages(pipe, seed))


def _require_own(name: str, folder: Path) -> None:
    """Refuse a folder that is neither empty nor of an earlier call, whose card names the model.

    Raises:
        OptionError: naming it.
    """
    if not folder.exists():
        return
    card = folder / "README.md"
    ours = card.is_file() and f"\n# zoo:{name}\n" in card.read_text(
        encoding="utf-8", errors="replace"
    )
    if not folder.is_dir() or (any(folder.iterdir()) and not ours):
        raise OptionError(
            f"--out {folder} holds something else than zoo:{name}: give an empty folder, or one "
            "that an earlier call made"
        )


def _publish(name: str, pipe: Any, work: Path, folder: Path) -> Any:
    """Save in half precision, whole or not at all, and load as a user would.

    Raises:
        OptionError: the folder is not ours to replace.
    """
    for component in pipe.components.values():
        # Text encoders, small as they are, stay in float32: transformers loads what was saved, and
        # diffusers float32, and the two must meet.
        if isinstance(component, ModelMixin):
            component.to(dtype=torch.bfloat16)
    folder.parent.mkdir(parents=True, exist_ok=True)
    with TemporaryDirectory(dir=folder.parent) as place:
        fresh = Path(place) / "pipeline"
        pipe.save_pretrained(fresh)
        for curve in work.glob("*-loss.png"):
            shutil.copy(curve, fresh)
        # What marks it as ours until the card is written.
        (fresh / "README.md").write_text(f"---\n---\n\n# zoo:{name}\n")
        _require_own(name, folder)
        if folder.exists():
            folder.rename(Path(place) / "earlier")
        fresh.rename(folder)
    return DiffusionPipeline.from_pretrained(folder, dtype=torch.float32)


def _sample(name: str, pipe: Any, count: int | None) -> tuple[Tensor, list[Any]]:
    """Samples of a model, and the prompts or classes that they were asked for by."""
    entry = zoo.entry(name)
    request = Request.of(
        zoo.PREFIX + name,
        count=count or (CLIPS if entry.moving else SAMPLES),
        classes=() if entry.words else [str(it) for it in sorted(set(pipe.labels.values()))],
    )
    pictures = torch.cat([part.sample(pipe) for part in request.split(pipe, BATCH)])
    return pictures, request.arguments(pipe)["prompt" if entry.words else "class_labels"]


def _card(
    name: str,
    pipe: Any,
    folder: Path,
    samples: Tensor,
    asked: list[Any],
    seed: int,
    minutes: float,
) -> str:
    """The model card, its figures counted on samples of what was asked."""
    entry, recipe, judge = zoo.entry(name), zoo.recipe(name), judging.Judge.load()
    scores = Scorer(judge, recipe.asked(asked), recipe.real()).score(samples)
    still, moving = judging.held_out_accuracy(judge)
    threads = torch.get_num_threads()
    return CARD.format(
        name=name,
        about=entry.about,
        call=", ".join(f"`{key}={value!r}`" for key, value in entry.call.items()),
        output="frames" if entry.moving else "images",
        example=f'"{asked[0]}"' if entry.words else "pipe.get_label_ids(['red seven'])",
        captions=HELD_OUT_CAPTIONS if entry.words else "",
        asked="digit, ink, background" + ", motion" * entry.moving,
        kind="clips" if entry.moving else "pictures",
        seed=seed,
        minutes=minutes,
        threads=f"{threads} thread" + "s" * (threads > 1),
        size=sum(file.stat().st_size for file in folder.rglob("*.safetensors")) / 1e6,
        precision=_precision(folder),
        parameters=pipe.transformer.num_parameters() / 1e6,
        accuracy=scores.accuracy,
        count=len(samples),
        frechet=scores.frechet,
        still=still,
        moving=moving,
    )


def _save_grid(samples: Tensor, path: Path) -> None:
    """Samples in [0, 1], `(n, 3, h, w)`: in rows of ten; of clips, every other frame in a row."""
    if samples.dim() == 5:
        rows = [torch.cat(list(clip[::2]), dim=2) for clip in samples[: 2 * COLUMNS]]
        rows = [torch.cat(pair, dim=2) for pair in zip(rows[::2], rows[1::2])]
    else:
        columns = min(COLUMNS, len(samples))
        shown = samples[: len(samples) // columns * columns][: 6 * columns]
        rows = [torch.cat(list(row), dim=2) for row in shown.split(columns)]
    grid = (torch.cat(rows, dim=1).permute(1, 2, 0) * 255).round().byte().numpy()
    size = (grid.shape[1] * 2, grid.shape[0] * 2)
    picture = Image.fromarray(grid).resize(size, Image.Resampling.NEAREST)
    picture.quantize(COLOURS).save(path, optimize=True)


def _precision(folder: Path) -> str:
    with safe_open(next((folder / "transformer").glob("*.safetensors")), "pt") as file:
        return str(file.get_tensor(next(iter(file.keys()))).dtype).removeprefix("torch.")


if __name__ == "__main__":
    try:
        typer.run(train)
    except ForecastCacheError as error:
        print(f"forecastcache.zoo.train: {error}", file=sys.stderr)
        sys.exit(2)
