"""The judge: a small network that reads digit, ink, background and motion off pictures and clips.

It stands in for what the papers use: whether a sample is what was asked for (their CLIP score and
ImageReward), and, by its features, how far samples are from real pictures (their FID).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import NamedTuple

import torch
from safetensors.torch import load_model, save_model
from torch import Tensor, nn
from torch.nn import functional as F

from forecastcache.zoo import captions, data, motion
from forecastcache.zoo.pictures import Subjects, subjects_of
from forecastcache.zoo.training import Stage, fit

WEIGHTS = Path(__file__).parent / "digit-judge" / "judge.safetensors"
FEATURES = 64
PICTURES = 96  # in a training batch
CLIPS = 16
NOISE = 0.1
STEPS = 2500


class Verdict(NamedTuple):
    """What stands on samples: indices into the tables of `data` and `motion`, `(n,)` each.

    Where nothing is said of something, it is `captions.UNSAID`.
    """

    digit: Tensor
    ink: Tensor
    background: Tensor
    motion: Tensor

    def agrees(self, asked: Verdict) -> Tensor:
        """Where all that was asked for is seen, `(n,)`, bool."""
        return agreement(self, asked)


def agreement(seen: Sequence[Tensor], asked: Sequence[Tensor]) -> Tensor:
    """Where all that was asked for is seen, `(n,)`, bool; `captions.UNSAID` was not asked for."""
    pairs = zip(seen, asked, strict=True)
    return torch.stack([(mine == its) | (its == captions.UNSAID) for mine, its in pairs]).all(0)


def shrinking(widths: Sequence[int]) -> list[nn.Module]:
    """Convolutions that halve a picture's sides once for each change of width."""
    return [
        layer
        for before, after in zip(widths, widths[1:])
        for layer in (
            nn.Conv2d(before, after, 3, stride=2, padding=1),
            nn.GroupNorm(8, after),
            nn.SiLU(),
            nn.Conv2d(after, after, 3, padding=1, groups=after),
            nn.SiLU(),
        )
    ]


class Judge(nn.Module):
    """Pictures `(n, 3, 32, 32)` or clips `(n, frames, 3, 32, 32)`, in [-1, 1], to features."""

    size = data.SIZE
    asks = "digit, ink, background"

    def __init__(self) -> None:
        super().__init__()
        widths = (3, 24, 48, 96)
        self.see = nn.Sequential(
            *shrinking(widths),
            nn.Flatten(),
            nn.Dropout(0.2),
            nn.Linear(widths[-1] * 4 * 4, FEATURES),
        )
        choices = (len(data.DIGITS), len(data.INKS), len(data.BACKGROUNDS))
        self.heads = nn.ModuleList(nn.Linear(FEATURES, n) for n in choices)
        self.follow = nn.Sequential(
            nn.Flatten(), nn.SiLU(), nn.Linear(motion.FRAMES * FEATURES, FEATURES)
        )
        self.motion = nn.Linear(FEATURES, len(motion.MOTIONS))

    def forward(self, pictures: Tensor) -> Tensor:
        """Features of pictures, `(n, 64)`; of clips also how they move, `(n, 128)`."""
        if pictures.dim() == 4:
            return self._seen(pictures)
        frames = self._seen(_evenly(pictures).flatten(0, 1)).unflatten(0, (len(pictures), -1))
        return torch.cat([frames.mean(1), self.follow(frames)], 1)

    def _seen(self, pictures: Tensor) -> Tensor:
        features: Tensor = self.see(pictures)
        return features

    def answers(self, features: Tensor) -> list[Tensor]:
        """Logits of each question, `(n, choices)`; three for pictures, four for clips."""
        still, moving = features[:, :FEATURES], features[:, FEATURES:]
        logits = [head(F.silu(still)) for head in self.heads]
        return [*logits, self.motion(F.silu(moving))] if moving.numel() else logits

    @torch.no_grad()
    def read(self, pictures: Tensor) -> Verdict:
        """What stands on pictures or clips."""
        return self.verdict(self.features(pictures))

    def verdict(self, features: Tensor) -> Verdict:
        """What stands on that of which these are the features."""
        read = [logits.argmax(1) for logits in self.answers(features)]
        unsaid = torch.full((len(features),), captions.UNSAID)
        return Verdict(*read, *[unsaid] * (4 - len(read)))

    @torch.no_grad()
    def features(self, pictures: Tensor) -> Tensor:
        """What a Fréchet distance is taken of, `(n, 64)` or `(n, 128)`."""
        return torch.cat([self(part) for part in pictures.split(256)])

    def accuracy(self) -> str:
        """How well it reads scans that it was not trained on, in words."""
        still, moving = held_out_accuracy(self)
        return (
            f"`zoo/digit-judge`, reads {still:.1%} of held-out scans rightly in every respect, "
            f"and {moving:.1%} of them in motion"
        )

    @classmethod
    def load(cls, path: Path = WEIGHTS) -> Judge:
        """The trained judge that ships with the package."""
        judge = cls()
        load_model(judge, path)
        return judge.eval().requires_grad_(False)

    def save(self, path: Path = WEIGHTS) -> None:
        path.parent.mkdir(parents=True, exist_ok=True)
        save_model(self, str(path))


def train_judge(work: Path, seed: int = 0, steps: int | None = None, device: str = "cpu") -> Judge:
    """A judge trained on every digit in every palette, still and moving, shifted and noisy."""
    torch.manual_seed(seed)
    judge, subjects = Judge(), every(data.scans("train"))

    def loss(generator: torch.Generator) -> Tensor:
        asked = subjects.sample(PICTURES + CLIPS, generator)
        losses: list[Tensor] = []
        for part in _still_and_moving(asked, generator):
            pictures = part.draw()
            if part.motion is None:
                pictures = _shift(pictures, generator)
            else:
                pictures = pictures.transpose(1, 2)
            noisy = pictures + NOISE * torch.randn(pictures.shape, generator=generator)
            wanted = verdict(part)
            losses += map(F.cross_entropy, judge.answers(judge(noisy)), wanted)
        return torch.stack(losses).sum()

    fit(Stage("judge", judge, loss, steps or STEPS, rate=2e-3), work, seed, device)
    return judge


def asked(prompts: list[str]) -> Verdict:
    """What the judge must read on samples of `prompts`, as far as they say it."""
    return Verdict(**captions.read(prompts))


def every(scans: data.Scans) -> Subjects:
    """Every scan in every palette, whatever its split."""
    parts = [subjects_of(scans, split) for split in ("train", "calibration", "held-out")]
    return Subjects(
        scans, torch.cat([it.scan for it in parts]), torch.cat([it.palette for it in parts])
    )


def verdict(subjects: Subjects) -> Verdict:
    """What a perfect judge would read."""
    ink, background = torch.tensor(captions.palettes())[subjects.palette].unbind(1)
    unsaid = torch.full_like(ink, captions.UNSAID)
    moves = unsaid if subjects.motion is None else subjects.motion
    return Verdict(subjects.scans.digit[subjects.scan], ink, background, moves)


def held_out_accuracy(judge: Judge) -> tuple[float, float]:
    """Share of held-out scans read rightly in every respect, in random palettes: still, moving."""
    scans = data.scans("held-out")
    generator = torch.Generator().manual_seed(0)
    palette = torch.randint(len(captions.palettes()), (len(scans),), generator=generator)
    still = Subjects(scans, torch.arange(len(scans)), palette)
    move = torch.randint(len(motion.MOTIONS), (len(scans),), generator=generator)
    moving = replace(still, motion=move)

    def share(subjects: Subjects, pictures: Tensor) -> float:
        return judge.read(pictures).agrees(verdict(subjects)).float().mean().item()

    return share(still, still.draw()), share(moving, moving.draw().transpose(1, 2))


def _still_and_moving(subjects: Subjects, generator: torch.Generator) -> tuple[Subjects, Subjects]:
    still, rest = torch.arange(len(subjects)).split([PICTURES, CLIPS])
    move = torch.randint(len(motion.MOTIONS), (CLIPS,), generator=generator)
    return subjects[still], replace(subjects[rest], motion=move)


def _evenly(clips: Tensor) -> Tensor:
    """As many frames as the judge follows, spread over the clip."""
    return clips[:, torch.linspace(0, clips.shape[1] - 1, motion.FRAMES).round().long()]


def _shift(pictures: Tensor, generator: torch.Generator, most: int = 2) -> Tensor:
    padded = F.pad(pictures, (most,) * 4, mode="replicate")
    down, right = torch.randint(2 * most + 1, (2,), generator=generator).tolist()
    return padded[:, :, down : down + data.SIZE, right : right + data.SIZE]
