"""Tiny stock models, one function each, by what they make."""

from . import image, newer_image, others, unet, video
from .make import MODELS, Tiny, make, other_conditions

__all__ = [
    "MODELS", "Tiny", "image", "make", "newer_image", "other_conditions", "others", "unet",
    "video",
]  # fmt: skip
