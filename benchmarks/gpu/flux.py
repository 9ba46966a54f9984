"""FLUX.1-dev at 1024 x 1024 pixels, 50 steps: what forecasts save, and what they hold."""

from __future__ import annotations

from answer import Answer
from asked import Asked
from race import Race
from subjects import flux
from ways import ours, theirs

NEEDS = ("diffusers",)


def main(asked: Asked, answer: Answer) -> None:
    steps, plain = (8, 4) if asked.tiny else (50, 10)
    Race(asked, answer, flux(asked.tiny), steps, plain).run([*ours(steps), *theirs()])
