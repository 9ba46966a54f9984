"""Histories in host memory against histories on the device: seconds and bytes."""

from __future__ import annotations

from answer import Answer
from asked import Asked
from race import Race
from subjects import flux
from ways import INTERVAL, Ours, evenly

import forecastcache as fc

NEEDS = ("diffusers",)


def main(asked: Asked, answer: Answer) -> None:
    steps, plain = (8, 4) if asked.tiny else (14, 5)
    every, taylor = fc.Every(INTERVAL, first=3), fc.Taylor(1)
    race = Race(asked, answer, flux(asked.tiny), steps, plain)
    race.run(
        [
            Ours("output, on the device", "output", evenly(steps), taylor),
            Ours("output, on the host", "output", evenly(steps), taylor, offload="cpu"),
            Ours("module, on the device", "module", every, taylor),
            Ours("module, on the host", "module", every, taylor, offload="cpu"),
        ]
    )
