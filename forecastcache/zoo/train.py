"""Make a zoo model from nothing: `python -m forecastcache.zoo.train flux-digits`."""

from __future__ import annotations

import json
import logging
import shutil
import sys
from collections import Counter
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Annotated, Any

import torch
import typer
from diffusers import DiffusionPipeline, ModelMixin
from PIL import Image
from torch import Tensor

from forecastcache import zoo
from forecastcache.errors import ForecastCacheError, OptionError, UnknownNameError
from forecastcache.sampling.request import Request
from forecastcache.zoo.card import Training, card_of
from forecastcache.zoo.emoji.judge import train_emoji_judge
from forecastcache.zoo.judge import train_judge
from forecastcache.zoo.scores import Scorer
from forecastcache.zoo.training import asked_before, ending, fit

SAMPLES = 300
CLIPS = 100
BATCH = 50
COLUMNS = 10  # of a grid
COLOURS = 128
JUDGES: dict[str, Callable[[Path, int, int | None, str], Any]] = {
    "judge": train_judge,
    "emoji-judge": train_emoji_judge,
}


def train(
    name: Annotated[str, typer.Argument(help=", ".join([*zoo.RECIPES, *JUDGES]))],
    work: Annotated[Path, typer.Option(help="checkpoints; resumed from if there")] = Path("build"),
    out: Annotated[Path | None, typer.Option(help="the model's folder; the package's own")] = None,
    seed: Annotated[int, typer.Option()] = 0,
    samples: Annotated[int | None, typer.Option(min=2, help="that figures are counted on")] = None,
    steps: Annotated[
        int | None, typer.Option(min=1, help="at which an open-ended stage is to end")
    ] = None,
    device: Annotated[str, typer.Option(help="that a transformer is trained on")] = "cpu",
    preview: Annotated[
        bool, typer.Option("--preview", help="train nothing; draw what checkpoints hold")
    ] = False,
) -> None:
    """Make the zoo model NAME from nothing, or go on where an earlier call was stopped."""
    work = work / "zoo" / name
    if name in JUDGES:
        if out is not None:
            raise OptionError("--out goes with a model; the judge has its place in the package")
        judge = JUDGES[name](work, seed, steps, device)
        judge.eval().save()
        print(judge.accuracy())
        return
    weights = zoo.entry(name).weights
    if weights:
        raise OptionError(f"zoo:{name} is zoo:{weights}, called otherwise: make that one")
    if preview:
        print(preview_of(name, work, seed, samples or COLUMNS * 4))
        return
    folder = out or zoo.place(name)
    _require_own(name, folder)
    trained, seconds = make(name, work, seed, steps, device)
    zoo.recipe(name).reader()  # refuses, where it is missing, before the folder is written
    pipe = _publish(name, trained, work, folder)
    pictures, asked = _sample(name, pipe, samples)
    _save_grid(pictures, folder / "samples.png")
    card = card_of(name, pipe, folder, pictures, asked, Training(seed, seconds))
    (folder / "README.md").write_text(card)
    print(card)


def make(
    name: str, work: Path, seed: int = 0, steps: int | None = None, device: str = "cpu"
) -> tuple[Any, Counter[str]]:
    """Train the pipeline of a model, or go on with what `work` holds.

    Args:
        name: name of the model.
        work: folder of the checkpoints.
        seed: seed of weights and batches.
        steps: step at which an open-ended stage is to end; what was last asked for, or else the
            recipe's number.
        device: where a transformer is trained.

    Returns:
        The pipeline, and the seconds of training on each machine.
    """
    recipe = zoo.recipe(name)
    torch.backends.cuda.matmul.allow_tf32 = True
    torch.manual_seed(seed)
    pipe, seconds = recipe.pipeline(), Counter[str]()
    for stage in recipe.stages(pipe, seed):
        seconds += fit(ending(stage, work, steps), work, seed, device)
    return pipe, seconds


def preview_of(name: str, work: Path, seed: int, count: int) -> str:
    """Draw samples for calibration captions by what the checkpoints hold, in `preview.png`.

    Returns:
        The picture's path and what the judge says, in words.

    Raises:
        CheckpointError: a stage before the transformer's has no checkpoint.
    """
    recipe = zoo.recipe(name)
    torch.manual_seed(seed)
    pipe = recipe.pipeline()
    for stage in recipe.stages(pipe, seed):
        stage = replace(stage, steps=asked_before(stage, work))
        fit(stage, work, seed, more=False)
        if stage.open_ended:
            break
    shown = zoo.PREFIX + getattr(recipe, "PREVIEWED", name)
    request = Request.of(shown, "calibration", count=count, seed=1, steps=25)
    pictures = torch.cat([it.sample(pipe) for it in request.split(pipe, BATCH)])
    path = work / "preview.png"
    _save_grid(pictures, path)
    try:
        scorer = Scorer(recipe.reader(), recipe.asked(list(request.prompts)), recipe.real())
    except UnknownNameError as error:
        return f"{path}, not judged: {error}"
    return f"{path}, {scorer.score(pictures).accuracy:.1%} of {count} judged as asked"


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
        for config in fresh.rglob("*.json"):
            _forget_origin(config)
        for curve in work.glob("*-loss.png"):
            shutil.copy(curve, fresh)
        # What marks it as ours until the card is written.
        (fresh / "README.md").write_text(f"---\n---\n\n# zoo:{name}\n")
        _require_own(name, folder)
        if folder.exists():
            folder.rename(Path(place) / "earlier")
        fresh.rename(folder)
    return DiffusionPipeline.from_pretrained(folder, dtype=torch.float32)


def _forget_origin(config: Path) -> None:
    """Leave out the path that a part was loaded from, a teacher's on this machine."""
    known = json.loads(config.read_text())
    if isinstance(known, dict) and known.pop("_name_or_path", None) is not None:
        config.write_text(json.dumps(known, indent=2) + "\n")


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


if __name__ == "__main__":
    if not sys.stderr.isatty():  # where no progress bar is seen
        logging.basicConfig(level=logging.INFO, format="%(asctime)s %(message)s")
    try:
        typer.run(train)
    except ForecastCacheError as error:
        print(f"forecastcache.zoo.train: {error}", file=sys.stderr)
        sys.exit(2)
