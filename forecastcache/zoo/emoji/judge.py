"""The judge of emoji: a small network that reads emoji, background and tilt off pictures."""

from __future__ import annotations

from pathlib import Path
from typing import NamedTuple

import torch
from safetensors.torch import load_file, save_file
from torch import Tensor, nn
from torch.nn import functional as F

from forecastcache._util.atomic_write import atomic_write
from forecastcache.errors import UnknownNameError
from forecastcache.zoo.emoji import captions, pictures
from forecastcache.zoo.emoji.names import known
from forecastcache.zoo.judge import agreement, shrinking
from forecastcache.zoo.training import Stage, ending, fit

WEIGHTS = Path(__file__).parent.parent / "emoji-judge" / "judge.safetensors"
FEATURES = 128
WIDTHS = (3, 32, 64, 128, 192)
BATCH = 128
STEPS = 12_000
NOISE = 0.1
REAL = 512  # held-out pictures that samples are held against


class EmojiVerdict(NamedTuple):
    """What is on pictures: indices into the tables of `captions`, `(n,)` each.

    Where nothing is said of something, it is `captions.UNSAID`.
    """

    emoji: Tensor
    background: Tensor
    tilt: Tensor

    def agrees(self, asked: EmojiVerdict) -> Tensor:
        """Where all that was asked for is seen, `(n,)`, bool."""
        return agreement(self, asked)


class EmojiJudge(nn.Module):
    """Pictures `(n, 3, 64, 64)` in [-1, 1] to features.

    Attributes:
        real: features of pictures in held-out combinations, `(512, 128)`. They come with the
            weights, so that samples can be scored where the pictures are not.
    """

    size = pictures.SIZE
    asks = "emoji, background, tilt"
    real: Tensor

    def __init__(self) -> None:
        super().__init__()
        side = pictures.SIZE >> (len(WIDTHS) - 1)
        self.see = nn.Sequential(
            *shrinking(WIDTHS), nn.Flatten(), nn.Linear(WIDTHS[-1] * side * side, FEATURES)
        )
        choices = (len(known()), len(captions.BACKGROUNDS), len(captions.TILTS))
        self.heads = nn.ModuleList(nn.Linear(FEATURES, count) for count in choices)
        self.register_buffer("real", torch.zeros(REAL, FEATURES))

    def forward(self, pictures: Tensor) -> Tensor:
        """Features of pictures, `(n, 128)`."""
        features: Tensor = self.see(pictures)
        return features

    def answers(self, features: Tensor) -> list[Tensor]:
        """Logits of each question, `(n, choices)`."""
        return [head(F.silu(features)) for head in self.heads]

    def verdict(self, features: Tensor) -> EmojiVerdict:
        """What is on the pictures of which these are the features."""
        return EmojiVerdict(*(logits.argmax(1) for logits in self.answers(features)))

    @torch.no_grad()
    def features(self, pictures: Tensor) -> Tensor:
        """What a Fréchet distance is taken of, `(n, 128)`."""
        return torch.cat([self(part) for part in pictures.split(256)])

    def accuracy(self) -> str:
        """How well it reads pictures that it was not trained on, in words.

        Raises:
            MissingDataError: the package with the pictures is missing.
        """
        right = held_out_share(self)
        return (
            f"`zoo/emoji-judge`, reads {right:.1%} of held-out pictures rightly in every respect"
        )

    @classmethod
    def load(cls, path: Path = WEIGHTS) -> EmojiJudge:
        """The trained judge that ships with the package.

        Raises:
            UnknownNameError: it is not there; the message says how to make it.
        """
        if not path.exists():
            raise UnknownNameError(
                "the judge of emoji does not come with this installation: make it with "
                "python -m forecastcache.zoo.train emoji-judge"
            )
        judge = cls()
        judge.load_state_dict({name: it.float() for name, it in load_file(path).items()})
        return judge.eval().requires_grad_(False)

    def save(self, path: Path = WEIGHTS) -> None:
        """Write the weights, in half precision."""
        halves = {name: it.bfloat16().contiguous() for name, it in self.state_dict().items()}
        with atomic_write(path) as partial:
            save_file(halves, partial)


def train_emoji_judge(
    work: Path, seed: int = 0, steps: int | None = None, device: str = "cpu"
) -> EmojiJudge:
    """A judge trained on every emoji in the combinations that are not held out, noisy.

    Raises:
        MissingDataError: the package with the pictures is missing.
    """
    torch.manual_seed(seed)
    judge = EmojiJudge()

    def draw(generator: torch.Generator) -> tuple[Tensor, ...]:
        shown = pictures.drawings_of("train", BATCH, generator)
        drawn = shown.draw()
        noisy = drawn + NOISE * torch.randn(drawn.shape, generator=generator)
        return noisy, torch.tensor(shown.scenes())

    def loss(batch: tuple[Tensor, ...]) -> Tensor:
        noisy, wanted = batch
        answers = judge.answers(judge(noisy))
        return torch.stack([F.cross_entropy(*it) for it in zip(answers, wanted.unbind(1))]).sum()

    stage = Stage("judge", judge, loss, STEPS, rate=2e-3, open_ended=True, draw=draw)
    fit(ending(stage, work, steps), work, seed, device)
    judge.real.copy_(judge.features(_held_out(REAL, seed=1).draw()))
    return judge


def asked_emoji(prompts: list[str]) -> EmojiVerdict:
    """What the judge must read on samples of `prompts`, as far as they say it."""
    return EmojiVerdict(**captions.parse(prompts))


def held_out_share(judge: EmojiJudge, count: int = 2000) -> float:
    """Share of pictures in held-out combinations that are read rightly in every respect.

    Raises:
        MissingDataError: the package with the pictures is missing.
    """
    shown = _held_out(count, seed=0)
    wanted = asked_emoji([captions.describe(it) for it in shown.scenes()])
    read = judge.verdict(torch.cat([judge.features(it) for it in shown.batches(256)]))
    return read.agrees(wanted).float().mean().item()


def _held_out(count: int, seed: int) -> pictures.Drawings:
    return pictures.drawings_of("held-out", count, torch.Generator().manual_seed(seed))
