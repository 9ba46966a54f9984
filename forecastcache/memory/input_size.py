"""InputSize: what a pipeline is asked for, as far as the shapes of a call depend on it."""

from __future__ import annotations

import math
from dataclasses import dataclass, field, fields
from typing import Any

from forecastcache.errors import SizeError


@dataclass(frozen=True)
class InputSize:
    """Pixels, frames, samples and text tokens; None for the model's usual.

    Attributes:
        height: height of a picture, in pixels.
        width: width of a picture, in pixels.
        frames: frames of a video.
        batch: pictures or videos in one call.
        text_tokens: tokens of a prompt, padding included.
        latent_pixels: pixels to an element of the latent along each side, as the autoencoder has
            them.
        latent_frames_every: frames to a frame of the latent, likewise.
    """

    height: int | None = None
    width: int | None = None
    frames: int | None = None
    batch: int = 1
    text_tokens: int | None = None
    latent_pixels: int | None = None
    latent_frames_every: int | None = None

    @property
    def squeeze(self) -> int:
        """Pixels to an element of the latent along each side: 8 where nothing tells."""
        return self.latent_pixels or 8

    def pixels(self, height: int, width: int, patch: int) -> tuple[int, int]:
        """Height and width in patches of `patch` pixels, which must divide them.

        Args:
            height: usual height of the model, in pixels.
            width: usual width of the model, in pixels.
            patch: pixels to a token along each side.

        Raises:
            SizeError: naming the nearest sizes that do.
        """
        return (
            _divided("height", self.height or height, patch),
            _divided("width", self.width or width, patch),
        )

    def rounded_pixels(
        self, height: int, width: int, patch: int, multiple: int = 1
    ) -> tuple[int, int]:
        """Height and width in whole patches, for pipelines that round down, saying so.

        Args:
            height: usual height of the model, in pixels.
            width: usual width of the model, in pixels.
            patch: pixels to a token along each side.
            multiple: number of pixels that the pipeline takes nothing but multiples of.

        Raises:
            SizeError: not one patch fits, or a side is no such multiple.
        """
        sides = {"height": self.height or height, "width": self.width or width}
        for name, pixels in sides.items():
            _divided(name, pixels, multiple)
            if pixels < patch:
                raise SizeError(f"{name}={pixels} is below one patch: write {patch} or more")
        return sides["height"] // patch, sides["width"] // patch

    def pixels_of_area(self, height: int, width: int, patch: int) -> tuple[int, int]:
        """Height and width in whole patches, for pipelines that scale both to the usual area.

        Args:
            height: usual height of the model, in pixels.
            width: usual width of the model, in pixels.
            patch: pixels to a token along each side.

        Raises:
            SizeError: not one patch fits.
        """
        asked = self.height or height, self.width or width
        scale = math.sqrt(height * width / math.prod(asked))
        rows, columns = (int(side * scale // patch) for side in asked)
        if not (rows and columns):
            raise SizeError(
                f"height={asked[0]} and width={asked[1]}, scaled to the area of {height} x "
                f"{width}, leave a side below one patch: write sides of more equal length"
            )
        return rows, columns

    def text(self, usual: int) -> int:
        """Tokens of a prompt, padding included, or the usual number of the model."""
        return self.text_tokens or usual

    def latent_frames(self, frames: int, every: int) -> int:
        """Frames of the latent: the first, and one for every `every` frames after it.

        Args:
            frames: usual frames of a video.
            every: usual frames to a frame of the latent.

        Raises:
            SizeError: naming the nearest numbers of frames that fit.
        """
        return (
            _divided(
                "frames", (self.frames or frames) - 1, self.latent_frames_every or every, plus=1
            )
            + 1
        )


@dataclass(frozen=True)
class ReadSize(InputSize):
    """A size that notes which of its fields a model reads, and what it makes of them.

    Attributes:
        read: names of the fields read so far.
        taken: height, width, frames and text tokens that the model runs at, as far as known.
    """

    read: set[str] = field(default_factory=set, init=False, repr=False, compare=False)
    taken: dict[str, int] = field(default_factory=dict, init=False, repr=False, compare=False)

    @classmethod
    def of(cls, size: InputSize) -> ReadSize:
        """The same size, of which nothing is read yet."""
        return cls(**{each.name: getattr(size, each.name) for each in fields(InputSize)})

    def __getattribute__(self, name: str) -> Any:
        if any(name == each.name for each in fields(InputSize)):
            self.read.add(name)
        return super().__getattribute__(name)

    def pixels(self, height: int, width: int, patch: int) -> tuple[int, int]:
        return self._take_sides(super().pixels(height, width, patch), patch)

    def rounded_pixels(
        self, height: int, width: int, patch: int, multiple: int = 1
    ) -> tuple[int, int]:
        return self._take_sides(super().rounded_pixels(height, width, patch, multiple), patch)

    def pixels_of_area(self, height: int, width: int, patch: int) -> tuple[int, int]:
        return self._take_sides(super().pixels_of_area(height, width, patch), patch)

    def _take_sides(self, patches: tuple[int, int], patch: int) -> tuple[int, int]:
        self.taken.update(height=patches[0] * patch, width=patches[1] * patch)
        return patches

    def latent_frames(self, frames: int, every: int) -> int:
        self.taken["frames"] = self.frames or frames
        return super().latent_frames(frames, every)

    def text(self, usual: int) -> int:
        self.taken["text_tokens"] = super().text(usual)
        return self.taken["text_tokens"]

    def require_all_read(self, model: str) -> None:
        """Refuse a field that was given and that the model has no use for.

        Raises:
            SizeError: naming the field and the model.
        """
        read = set(self.read)
        for each in fields(InputSize):
            if each.name.startswith("latent_"):  # a fact of the autoencoder, whoever reads it
                continue
            if each.name not in read and getattr(self, each.name) != each.default:
                raise SizeError(
                    f"{each.name}={getattr(self, each.name)} is given, but {model} has no "
                    f"{each.name.replace('_', ' ')}: leave it out"
                )


def _divided(name: str, number: int, by: int, plus: int = 0) -> int:
    if number < by * (1 - plus) or number % by:
        below, above = number // by * by + plus, (number // by + 1) * by + plus
        nearest = f"{below} or {above}" if below > 0 else str(above)
        what = f"{plus} more than a multiple of {by}" if plus else f"a multiple of {by}"
        raise SizeError(
            f"{name}={number + plus} is not {what}, as the model needs: write {nearest}"
        )
    return number // by
