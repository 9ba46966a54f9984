"""Digits in motion: a scan's ink moved, turned or grown over the frames of a clip."""

from __future__ import annotations

import math

import torch
from torch import Tensor
from torch.nn import functional as F

FRAMES = 9
MOTIONS = (
    "moving left",
    "moving right",
    "moving up",
    "moving down",
    "turning left",
    "turning right",
    "growing",
    "shrinking",
)
SIZE = 0.75  # of a digit in the middle of a clip, 1 being its size on a picture
STRETCH = 0.25  # how far from there it grows and shrinks
REACH = 0.3  # how far it moves from the centre, in half pictures
ANGLE = math.radians(40)  # how far it turns from upright

# What each motion changes by its end, in the order of MOTIONS; at its start the opposite.
_RIGHT = torch.tensor([-REACH, REACH, 0, 0, 0, 0, 0, 0])
_DOWN = torch.tensor([0, 0, -REACH, REACH, 0, 0, 0, 0])
_CLOCKWISE = torch.tensor([0, 0, 0, 0, -ANGLE, ANGLE, 0, 0])
_LARGER = torch.tensor([0, 0, 0, 0, 0, 0, STRETCH, -STRETCH])


def animate(ink: Tensor, motion: Tensor, frames: int = FRAMES) -> Tensor:
    """Digits in motion, `(n, frames, h, w)`.

    Args:
        ink: coverage of the digits, `(n, h, w)`.
        motion: indices into `MOTIONS`, `(n,)`.
        frames: number of frames of a clip.
    """
    moment = torch.linspace(-1, 1, frames)
    turned = _CLOCKWISE[motion, None] * moment
    size = SIZE + _LARGER[motion, None] * moment
    moved = torch.stack([_RIGHT[motion, None] * moment, _DOWN[motion, None] * moment], -1)
    # Sampling asks where in the scan a pixel of the clip lies: the motion's inverse.
    back = (
        torch.stack(
            [
                torch.stack([turned.cos(), turned.sin()], -1),
                torch.stack([-turned.sin(), turned.cos()], -1),
            ],
            -2,
        )
        / size[..., None, None]
    )
    start = -(back @ moved[..., None])
    where = F.affine_grid(
        torch.cat([back, start], -1).flatten(0, 1), [len(ink) * frames, 1, *ink.shape[1:]], False
    )
    still = ink.repeat_interleave(frames, 0)[:, None]
    return F.grid_sample(still, where, align_corners=False).view(len(ink), frames, *ink.shape[1:])
