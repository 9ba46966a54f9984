"""What text encoders are taught of emoji: which one a caption names, and what it looks like.

As CLIP's is taught by pictures: names of emoji that look alike come to be near each other, so the
transformer need not learn 1,345 names apart.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from forecastcache.zoo.emoji import captions, pictures
from forecastcache.zoo.emoji.names import known
from forecastcache.zoo.training import Stage

BATCH = 128
THUMBNAIL = 16  # pixels, of which the width of a picture is a multiple
LOOKS = 20.0  # weight of an error in the thumbnail
BARE = 0.1  # share of captions that say no background


def teach_emoji(
    name: str,
    encoder: nn.Module,
    summary: Callable[[list[str]], Tensor],
    width: int,
    steps: int,
) -> Stage:
    """The stage that trains an encoder until emoji, background and tilt can be read off it.

    Args:
        name: name of the stage.
        encoder: text encoder to train.
        summary: captions to `(n, width)`, through the encoder; linear heads read from it.
        width: number of channels of the summary.
        steps: number of optimiser steps.

    Raises:
        MissingDataError: the package with the pictures is missing.
    """
    looks = thumbnails()
    choices = (len(known()), len(captions.BACKGROUNDS), len(captions.TILTS), looks.shape[1])
    heads = nn.ModuleList(nn.Linear(width, count) for count in choices)
    among = torch.tensor(captions.scenes("train"))

    def loss(generator: torch.Generator) -> Tensor:
        rows = among[torch.randint(len(among), (BATCH,), generator=generator)]
        features = summary(said(rows, generator, bare=0))
        *answers, seen = (head(features) for head in heads)
        losses = [F.cross_entropy(*it) for it in zip(answers, rows.unbind(1))]
        losses.append(LOOKS * F.mse_loss(seen, looks[rows[:, 0]]))
        return torch.stack(losses).sum()

    reader = nn.ModuleDict({"encoder": encoder, "heads": heads})
    return Stage(name, reader, loss, steps, rate=3e-3, decay=0.98)


def said(rows: Tensor, generator: torch.Generator, bare: float = BARE) -> list[str]:
    """Captions of combinations `(n, 3)`, some without the background."""
    silent = torch.rand(len(rows), generator=generator) < bare
    parts = zip(rows.tolist(), silent.tolist())
    return [captions.describe(captions.Scene(*row), is_bare) for row, is_bare in parts]


def thumbnails() -> Tensor:
    """Every emoji seen from afar: colours and opacity in [0, 1], `(n, 4 * 16 * 16)`."""
    whole = pictures.originals().float() / 255
    return F.adaptive_avg_pool2d(whole, THUMBNAIL).flatten(1)
