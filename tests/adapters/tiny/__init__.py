"""Tiny stock models, one function each, by what they make."""

from . import image, newer_image, newer_video, others, sound, unet, video
from .make import MODELS, Tiny, make, other_conditions

__all__ = [
    "MODELS", "Tiny", "image", "make", "newer_image", "newer_video", "other_conditions",
    "others", "sound", "unet", "video",
]  # fmt: skip
