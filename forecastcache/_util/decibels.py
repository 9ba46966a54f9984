"""Decibels in words."""

from __future__ import annotations


def format_decibels(value: float | None) -> str:
    """A PSNR; None is that of equal samples."""
    return "identical" if value is None else f"{value:.1f} dB"
