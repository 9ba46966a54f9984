"""The judge: a small classifier that reads digit, ink and background off a picture."""

from __future__ import annotations

from pathlib import Path
from typing import NamedTuple

import torch
from safetensors.torch import load_model, save_model
from torch import Tensor, nn
from torch.nn import functional as F

from forecastcache.zoo import data
from forecastcache.zoo.training import Stage, fit

WEIGHTS = Path(__file__).parent / "digit-judge" / "judge.safetensors"
BATCH = 128


class Verdict(NamedTuple):
    """What the judge reads: indices into the tables of `data`, `(n,)` each."""

    digit: Tensor
    ink: Tensor
    background: Tensor

    def agrees(self, asked: Verdict) -> Tensor:
        """Where digit, ink and background are all as asked, `(n,)`, bool."""
        return torch.stack([mine == its for mine, its in zip(self, asked, strict=True)]).all(0)


class Judge(nn.Module):
    """Pictures `(n, 3, 32, 32)` in [-1, 1] to one vector of logits a question."""

    def __init__(self) -> None:
        super().__init__()
        widths = (3, 24, 48, 96)
        self.features = nn.Sequential(
            *(
                layer
                for before, after in zip(widths, widths[1:])
                for layer in (
                    nn.Conv2d(before, after, 3, stride=2, padding=1),
                    nn.GroupNorm(8, after),
                    nn.SiLU(),
                    nn.Conv2d(after, after, 3, padding=1, groups=after),
                    nn.SiLU(),
                )
            ),
            nn.Flatten(),
            nn.Dropout(0.2),
        )
        choices = (len(data.DIGITS), len(data.INKS), len(data.BACKGROUNDS))
        self.heads = nn.ModuleList(nn.Linear(widths[-1] * 4 * 4, n) for n in choices)

    def forward(self, pictures: Tensor) -> list[Tensor]:
        features = self.features(pictures)
        return [head(features) for head in self.heads]

    @torch.no_grad()
    def read(self, pictures: Tensor) -> Verdict:
        """What stands on `pictures`, `(n, 3, 32, 32)` in [-1, 1]."""
        return Verdict(*(logits.argmax(1) for logits in self(pictures)))

    @classmethod
    def load(cls, path: Path = WEIGHTS) -> Judge:
        """The trained judge that ships with the package."""
        judge = cls()
        load_model(judge, path)
        return judge.eval().requires_grad_(False)

    def save(self, path: Path = WEIGHTS) -> None:
        path.parent.mkdir(parents=True, exist_ok=True)
        save_model(self, str(path))


def train(work: Path, seed: int = 0, steps: int = 2000) -> Judge:
    """A judge trained on every digit in every ink on every background, shifted and noisy."""
    torch.manual_seed(seed)
    judge, scans = Judge(), data.scans("train")

    def loss(generator: torch.Generator) -> Tensor:
        pictures, asked = draw(scans, BATCH, generator)
        shifted = _shift(pictures, generator)
        noisy = shifted + 0.1 * torch.randn(shifted.shape, generator=generator)
        answers = judge(noisy)
        return sum(
            (F.cross_entropy(a, b) for a, b in zip(answers, asked, strict=True)),
            start=torch.zeros(()),
        )

    fit(Stage("judge", judge, loss, steps, rate=2e-3), work, seed)
    return judge


def held_out_accuracy(judge: Judge) -> float:
    """Share of held-out scans, in random colours, of which all three are read rightly."""
    scans = data.scans("held-out")
    generator = torch.Generator().manual_seed(0)
    pictures, asked = draw(scans, len(scans), generator, every=True)
    return judge.read(pictures).agrees(asked).float().mean().item()


def draw(
    scans: data.Scans, count: int, generator: torch.Generator, every: bool = False
) -> tuple[Tensor, Verdict]:
    """`count` scans in random colours, and what stands on them."""
    pick = (
        torch.arange(count) if every else torch.randint(len(scans), (count,), generator=generator)
    )
    ink = torch.randint(len(data.INKS), (count,), generator=generator)
    background = torch.randint(len(data.BACKGROUNDS), (count,), generator=generator)
    pictures = data.paint(
        scans.ink[pick], data.colours(data.INKS)[ink], data.colours(data.BACKGROUNDS)[background]
    )
    return pictures, Verdict(scans.digit[pick], ink, background)


def _shift(pictures: Tensor, generator: torch.Generator, most: int = 2) -> Tensor:
    padded = F.pad(pictures, (most,) * 4, mode="replicate")
    down, right = torch.randint(2 * most + 1, (2,), generator=generator).tolist()
    return padded[:, :, down : down + data.SIZE, right : right + data.SIZE]
