"""Autoencoder: how many pixels and frames stand behind one element of a latent."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

from forecastcache.memory.input_size import InputSize


@dataclass(frozen=True)
class Compression:
    """What an autoencoder makes smaller, and how much.

    Attributes:
        pixels: pixels to an element of the latent, along height and along width; None where the
            configuration does not tell.
        frames: frames of a video to a frame of the latent, likewise.
    """

    pixels: int | None = None
    frames: int | None = None

    def of(self, size: InputSize) -> InputSize:
        """The size with what it leaves open about the autoencoder filled in."""
        return replace(
            size,
            latent_pixels=size.latent_pixels or self.pixels,
            latent_frames_every=size.latent_frames_every or self.frames,
        )


def compression_of(config: Mapping[str, Any], built: object = None) -> Compression:
    """The compression that the configuration of one of diffusers' autoencoders tells.

    The keys and attributes are those that diffusers' pipelines themselves read.

    Args:
        config: configuration of the autoencoder.
        built: the autoencoder itself, which may tell more; None where it is not at hand.
    """
    pixels, frames = (
        config.get(f"{way}_compression_ratio")
        or config.get(f"scale_factor_{way}")
        or getattr(built, f"{way}_compression_ratio", None)
        for way in ("spatial", "temporal")
    )
    # One flag for each halving of the sides: whether it halves the frames too.
    halvings = config.get("temperal_downsample")
    if halvings is not None:
        pixels, frames = pixels or 2 ** len(halvings), frames or 2 ** sum(halvings)
    channels = config.get("block_out_channels")
    if pixels is None and channels is not None:
        pixels = 2 ** (len(channels) - 1)
    return Compression(pixels, frames)
