"""What the recipes train on: pictures of digits in every allowed palette, and their captions."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from forecastcache.zoo import captions, data, motion

BARE = 0.1  # share of captions that say no background
STILL = 0.75  # share of the autoencoder's batches that are single frames: colours are learned so
PLAIN = 0.2  # share of captions that say nothing of weight or slant


@dataclass(frozen=True)
class Subjects:
    """Scans in colours.

    Attributes:
        scans: scans that the subjects show.
        scan: index of each one's scan, `(n,)`.
        palette: index into `captions.palettes()`, `(n,)`.
        motion: index into `motion.MOTIONS`, `(n,)`; None for still pictures.
    """

    scans: data.Scans
    scan: Tensor
    palette: Tensor
    motion: Tensor | None = None

    def __len__(self) -> int:
        return len(self.scan)

    def __getitem__(self, pick: Tensor) -> Subjects:
        moves = None if self.motion is None else self.motion[pick]
        return Subjects(self.scans, self.scan[pick], self.palette[pick], moves)

    def sample(self, count: int, generator: torch.Generator) -> Subjects:
        """`count` of them at random, some perhaps twice."""
        return self[torch.randint(len(self), (count,), generator=generator)]

    def draw(self) -> Tensor:
        """Pictures `(n, 3, h, w)` in [-1, 1], or clips `(n, 3, frames, h, w)`."""
        inks, backgrounds = torch.tensor(captions.palettes())[self.palette].unbind(1)
        colours = data.colours(data.INKS)[inks], data.colours(data.BACKGROUNDS)[backgrounds]
        coverage = self.scans.ink[self.scan]
        if self.motion is None:
            return data.paint(coverage, *colours)
        frames = motion.animate(coverage, self.motion)
        every_frame = (colour.repeat_interleave(frames.shape[1], 0) for colour in colours)
        clips: Tensor = data.paint(frames.flatten(0, 1), *every_frame).unflatten(
            0, frames.shape[:2]
        )
        return clips.transpose(1, 2)

    def batches(self, size: int) -> Iterator[Tensor]:
        """All of them drawn, `size` at a time."""
        for pick in torch.arange(len(self)).split(size):
            yield self[pick].draw()


def subjects_of(scans: data.Scans, split: data.Split = "train") -> Subjects:
    """Every scan in every palette whose combination belongs to `split`."""
    known = set(captions.combinations(split))
    pairs = [
        (scan, palette)
        for palette, colours in enumerate(captions.palettes())
        for scan, digit in enumerate(scans.digit.tolist())
        if (digit, *colours) in known
    ]
    return Subjects(scans, *torch.tensor(pairs).unbind(1))


def set_in_motion(subjects: Subjects, count: int, seed: int) -> Subjects:
    """`count` of them at random, each moved in some way."""
    generator = torch.Generator().manual_seed(seed)
    chosen = subjects.sample(count, generator)
    moves = torch.randint(len(motion.MOTIONS), (count,), generator=generator)
    return replace(chosen, motion=moves)


def clips_or_stills(subjects: Subjects, generator: torch.Generator) -> Tensor:
    """A batch for the autoencoder: clips, or as often as `STILL` says single frames of clips."""
    if torch.rand((), generator=generator) > STILL:
        return subjects.sample(6, generator).draw()
    clips = subjects.sample(32, generator).draw()
    return clips[:, :, int(torch.randint(motion.FRAMES, (), generator=generator))][:, :, None]


def captions_of(subjects: Subjects, generator: torch.Generator) -> list[str]:
    """A caption of each, leaving out now and then what a user might."""
    digits = subjects.scans.digit.tolist()
    weights, slants = captions.measured(subjects.scans)
    moves = [""] * len(subjects)
    if subjects.motion is not None:
        moves = [motion.MOTIONS[i] for i in subjects.motion.tolist()]
    bare, plain = torch.rand(2, len(subjects), generator=generator)
    parts = (subjects.scan, subjects.palette, plain < PLAIN, bare < BARE)
    texts = []
    for move, scan, palette, is_plain, is_bare in zip(moves, *(part.tolist() for part in parts)):
        combination = captions.Combination(digits[scan], *captions.palettes()[palette])
        weight, slant = ("", "") if is_plain else (weights[scan], slants[scan])
        texts.append(captions.write(combination, weight, slant, move, is_bare))
    return texts


def captioned(
    latents: Tensor, subjects: Subjects, size: int
) -> Callable[[torch.Generator], tuple[Tensor, list[str]]]:
    """Draws `size` of the subjects' latents with their captions."""

    def draw(generator: torch.Generator) -> tuple[Tensor, list[str]]:
        pick = torch.randint(len(subjects), (size,), generator=generator)
        return latents[pick], captions_of(subjects[pick], generator)

    return draw
