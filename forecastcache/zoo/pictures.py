"""What the recipes train on: latents of digits in every allowed palette, with their captions."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from forecastcache.zoo import captions, data, motion
from forecastcache.zoo.training import Stage

KL_WEIGHT = 1e-6
INK = 0.2  # difference from the corner of a picture that makes a pixel ink
BARE = 0.1  # share of captions that say no background
PLAIN = 0.2  # share of captions that say nothing of weight or slant


@dataclass(frozen=True)
class Subjects:
    """Scans in colours.

    Attributes:
        scan: index of the scan, `(n,)`.
        palette: index into `captions.palettes()`, `(n,)`.
        motion: index into `motion.MOTIONS`, `(n,)`; None for still pictures.
    """

    scan: Tensor
    palette: Tensor
    motion: Tensor | None = None

    def __len__(self) -> int:
        return len(self.scan)

    def draw(self, scans: data.Scans) -> Tensor:
        """Pictures `(n, 3, h, w)` in [-1, 1], or clips `(n, 3, frames, h, w)`."""
        inks, backgrounds = torch.tensor(captions.palettes())[self.palette].unbind(1)
        ink = data.colours(data.INKS)[inks]
        background = data.colours(data.BACKGROUNDS)[backgrounds]
        if self.motion is None:
            return data.paint(scans.ink[self.scan], ink, background)
        frames = motion.animate(scans.ink[self.scan], self.motion)
        count = frames.shape[1]
        painted = data.paint(
            frames.flatten(0, 1), ink.repeat_interleave(count, 0),
            background.repeat_interleave(count, 0),
        )  # fmt: skip
        clips: Tensor = painted.unflatten(0, frames.shape[:2])
        return clips.transpose(1, 2)

    def __getitem__(self, pick: Tensor) -> Subjects:
        moves = None if self.motion is None else self.motion[pick]
        return Subjects(self.scan[pick], self.palette[pick], moves)

    def any(self, count: int, generator: torch.Generator) -> Tensor:
        """Indices of `count` of them, `(count,)`."""
        return torch.randint(len(self), (count,), generator=generator)

    def batches(self, size: int) -> list[Subjects]:
        return [self[pick] for pick in torch.arange(len(self)).split(size)]


def trained_on(scans: data.Scans, split: data.Split = "train") -> Subjects:
    """Every scan in every palette whose combination belongs to `split`."""
    known = set(captions.combinations(split))
    pairs = [
        (scan, palette)
        for palette, colours in enumerate(captions.palettes())
        for scan, digit in enumerate(scans.digit.tolist())
        if (digit, *colours) in known
    ]
    return Subjects(*torch.tensor(pairs).unbind(1))


def set_in_motion(subjects: Subjects, count: int, seed: int) -> Subjects:
    """`count` of them, each moved in some way."""
    generator = torch.Generator().manual_seed(seed)
    pick = torch.randint(len(subjects), (count,), generator=generator)
    moves = torch.randint(len(motion.MOTIONS), (count,), generator=generator)
    return Subjects(subjects.scan[pick], subjects.palette[pick], moves)


def writer(
    scans: data.Scans, subjects: Subjects
) -> Callable[[Tensor, torch.Generator], list[str]]:
    """Writes the captions of picked subjects, leaving out now and then what a user might."""
    weights, slants = captions.measured(scans)
    digits = scans.digit.tolist()

    def write(pick: Tensor, generator: torch.Generator) -> list[str]:
        bare, plain = torch.rand(2, len(pick), generator=generator)
        moves = None if subjects.motion is None else subjects.motion[pick].tolist()
        texts = []
        for i, (scan, palette) in enumerate(
            zip(subjects.scan[pick].tolist(), subjects.palette[pick].tolist())
        ):
            brief = bool(plain[i] < PLAIN)
            texts.append(
                captions.write(
                    captions.Combination(digits[scan], *captions.palettes()[palette]),
                    weight="" if brief else weights[scan],
                    slant="" if brief else slants[scan],
                    motion="" if moves is None else motion.MOTIONS[moves[i]],
                    bare=bool(bare[i] < BARE),
                )
            )
        return texts

    return write


def captioned(
    latents: Tensor, scans: data.Scans, subjects: Subjects, size: int
) -> Callable[[torch.Generator], tuple[Tensor, list[str]]]:
    """Draws `size` of the subjects' latents with their captions."""
    write = writer(scans, subjects)

    def draw(generator: torch.Generator) -> tuple[Tensor, list[str]]:
        pick = subjects.any(size, generator)
        return latents[pick], write(pick, generator)

    return draw


def autoencoding(
    vae: Any,
    draw: Callable[[torch.Generator], Tensor],
    steps: int,
    ink: float = 1.0,
    rate: float = 2e-3,
) -> Stage:
    """The stage that trains an autoencoder.

    Args:
        vae: to be trained.
        draw: draws pictures or clips in [-1, 1], `(n, 3, ..., h, w)`.
        steps: optimiser steps.
        ink: what an error in the ink weighs, one in the background weighing 1.
        rate: peak learning rate.
    """
    vae.requires_grad_(True)

    def loss(generator: torch.Generator) -> Tensor:
        pictures = draw(generator)
        posterior = vae.encode(pictures).latent_dist
        drawn = vae.decode(posterior.sample(generator)).sample
        surprise: Tensor = posterior.kl().mean()
        errors = (drawn - pictures).abs()
        if ink != 1:
            corner = pictures[..., :1, :1]
            errors = errors * torch.where((pictures - corner).abs() > INK, ink, 1.0)
        error: Tensor = errors.mean()
        return error + KL_WEIGHT * surprise

    return Stage("vae", vae, loss, steps, rate, decay=0.995)
