"""The model cards of the zoo."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

from safetensors import safe_open
from torch import Tensor

from forecastcache import zoo
from forecastcache.zoo.scores import Scorer

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

- **Called with** {call}.{variants}
- **Data**: {data}
- **Recipe**: `python -m forecastcache.zoo.train {name}`, {training}.
  Loss curves beside this card.
- **Size**: {size:.1f} MB, {precision}; the transformer has {parameters:.1f} million parameters.
- **Figures**: {accuracy:.1%} of {count} samples of {steps} steps are judged as asked ({asked});
  Fréchet distance to held-out {kind} in the judge's features {frechet:.1f}. The judge,
  {judge}.
- **Licence**: Apache-2.0.
"""
VARIANT = """ `zoo:{name}` is
  the same, called with {call}."""
DIGITS = """1,438 of the 1,797 handwritten digits that scikit-learn carries (E. Alpaydin and
  C. Kaynak, Optical Recognition of Handwritten Digits, UCI, CC BY 4.0), drawn in coloured ink.
  120 others are for calibration, 239 are held out."""
HELD_OUT_CAPTIONS = """ Captions are split by
  combination of {combination}: a tenth is held out, a tenth is for calibration;
  neither was trained on. The samples above and the figures below are of held-out captions."""


class Training(NamedTuple):
    """How a model was made.

    Attributes:
        seed: seed of weights and batches.
        seconds: seconds that it took on each machine.
    """

    seed: int
    seconds: Mapping[str, float]

    def __str__(self) -> str:
        took = (f"{taken / 60:.0f} minutes on {on}" for on, taken in self.seconds.items())
        return f"seed {self.seed}, {' and '.join(took)}"


def card_of(
    name: str, pipe: Any, folder: Path, samples: Tensor, asked: list[Any], training: Training
) -> str:
    """The model card, its figures counted on samples of what was asked.

    Args:
        name: name of the model.
        pipe: pipeline of the model, as loaded.
        folder: folder that it was loaded from.
        samples: samples in [0, 1].
        asked: prompts or classes that they were asked for by.
        training: how it was made.
    """
    entry, recipe, judge = zoo.entry(name), zoo.recipe(name), zoo.recipe(name).reader()
    scores = Scorer(judge, recipe.asked(asked), recipe.real()).score(samples)
    variants = {other: it for other, it in zoo.ENTRIES.items() if it.weights == name}
    combination = getattr(recipe, "COMBINATION", "digit, ink and background")
    return CARD.format(
        name=name,
        about=entry.about,
        call=_listed(entry.call),
        variants="".join(
            VARIANT.format(name=other, call=_listed(it.call)) for other, it in variants.items()
        ),
        output="frames" if entry.moving else "images",
        example=f'"{asked[0]}"' if entry.words else "pipe.get_label_ids(['red seven'])",
        data=getattr(recipe, "DATA", DIGITS)
        + HELD_OUT_CAPTIONS.format(combination=combination) * entry.words,
        asked=judge.asks + ", motion" * entry.moving,
        kind="clips" if entry.moving else "pictures",
        training=training,
        size=sum(file.stat().st_size for file in folder.rglob("*.safetensors")) / 1e6,
        precision=_precision(folder),
        parameters=pipe.transformer.num_parameters() / 1e6,
        accuracy=scores.accuracy,
        count=len(samples),
        steps=zoo.usual_steps(zoo.PREFIX + name),
        frechet=scores.frechet,
        judge=judge.accuracy(),
    )


def _listed(call: Any) -> str:
    return ", ".join(f"`{key}={value!r}`" for key, value in call.items())


def _precision(folder: Path) -> str:
    with safe_open(next((folder / "transformer").glob("*.safetensors")), "pt") as file:
        return str(file.get_tensor(next(iter(file.keys()))).dtype).removeprefix("torch.")
