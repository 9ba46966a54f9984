"""HunyuanVideo at 65 frames of 480 x 640 pixels, 20 steps, as far as memory and time go."""

from __future__ import annotations

from answer import Answer
from asked import Asked
from race import Race
from subjects import hunyuan
from ways import ours, theirs

NEEDS = ("diffusers",)


def main(asked: Asked, answer: Answer) -> None:
    steps, plain = (8, 4) if asked.tiny else (20, 3)
    # A step takes seconds: nothing that happens once weighs beside it.
    race = Race(asked, answer, hunyuan(asked.tiny), steps, plain, warm=asked.tiny)
    race.run([*ours(steps), *theirs()])
