"""Goal: how fast, or how near to the plain run, sampling is to be."""

from __future__ import annotations

import math
from dataclasses import dataclass
from numbers import Real
from typing import Literal

from forecastcache.calibration.calibration import Calibration
from forecastcache.calibration.fits import Fit
from forecastcache.calibration.offers import Offer
from forecastcache.errors import OptionError
from forecastcache.schedule import Schedule

Quality = Literal["near-lossless", "balanced", "fast"]
QUALITIES: dict[str, float] = {"near-lossless": 45.0, "balanced": 38.0, "fast": 30.0}
USUAL = 5.0  # times fewer computed steps, where nothing is asked
FEWEST = 4  # computed steps where nothing is asked, of runs that have twice as many
STRIDE = 1.3  # from one count of computed steps to the next, in search of a nearness


def usual_count(total: int) -> int:
    """The number of steps to compute of so many, where nothing is asked.

    A fifth; of runs of few steps, where that is too coarse, four, or half of them.
    """
    return max(math.floor(total / USUAL), min(FEWEST, math.ceil(total / 2)))


def _is_number(value: object) -> bool:
    return isinstance(value, Real) and not isinstance(value, bool)


@dataclass(frozen=True)
class Goal:
    """What is asked of accelerated sampling: one of three, or nothing.

    Attributes:
        speedup: times fewer computed steps; None if something else is asked.
        computed: number of computed steps; None if something else is asked.
        psnr: latent PSNR to the plain run in dB, at least; None if something else is asked.
        schedule: schedule of the computed steps, instead of all three; None where one is to be
            found.
    """

    speedup: float | None = None
    computed: int | None = None
    psnr: float | None = None
    schedule: Schedule | None = None

    @classmethod
    def of(
        cls,
        speedup: float | None = None,
        computed: int | None = None,
        psnr: float | None = None,
        quality: Quality | None = None,
    ) -> Goal:
        """The goal that one of four options says; the usual number of steps where none does.

        Raises:
            OptionError: several do, or one is out of range.
        """
        options = {"speedup": speedup, "computed": computed, "psnr": psnr, "quality": quality}
        asked = [name for name, value in options.items() if value is not None]
        if len(asked) > 1:
            raise OptionError(f"{' and '.join(asked)} each choose by themselves: give one")
        if quality is not None:
            if quality not in QUALITIES:
                raise OptionError(
                    f"quality={quality!r} is not known: write one of {', '.join(QUALITIES)}"
                )
            return cls(psnr=QUALITIES[quality])
        if speedup is not None and not (_is_number(speedup) and 1 <= speedup < math.inf):
            raise OptionError(f"speedup={speedup!r} is no number of at least 1: ask for 1 or more")
        if computed is not None and not (type(computed) is int and computed >= 1):
            raise OptionError(
                f"computed={computed!r} is no whole number of at least 1: ask for 1 or more"
            )
        if psnr is not None and not (_is_number(psnr) and 0 < psnr < math.inf):
            raise OptionError(f"psnr={psnr!r} is no number of dB above 0: ask for such as 40")
        return cls(speedup, computed, psnr)

    def __str__(self) -> str:
        if self.schedule is not None:
            return f"the steps of {self.schedule}"
        if self.psnr is not None:
            return f"latent PSNR of {self.psnr:g} dB"
        if self.computed is not None:
            return f"{self.computed} computed steps"
        return "the usual speedup" if self.speedup is None else f"speedup {self.speedup:g}"

    def count(self, total: int) -> int:
        """The number of steps to compute of so many; where a nearness is asked, the first to try.

        Raises:
            OptionError: it is above what there are.
            ScheduleError: the schedule does not fit so many.
        """
        if self.schedule is not None:
            return len(self.schedule.computed(total))
        if self.computed is not None:
            if self.computed > total:
                raise OptionError(
                    f"computed={self.computed} is above {total}, the number of the run's steps: "
                    f"ask for {total} at most"
                )
            return self.computed
        if self.speedup is None:
            return usual_count(total)
        if self.speedup > total:
            raise OptionError(
                f"speedup={self.speedup:g} is above {total}, the number of the run's steps: ask "
                f"for {total} at most"
            )
        return math.floor(total / self.speedup)

    def chosen(self, calibration: Calibration) -> Offer | None:
        """What a calibration has that reaches it; None where nothing was rolled that does."""
        total, fits = calibration.identity.steps, calibration.fits
        if self.schedule is not None:
            steps = self.schedule.computed(total)
            return next((Offer.of(fit) for fit in fits if fit.computed == steps), None)
        if self.psnr is None:
            count = self.count(total)
            known = count == total or any(len(fit.computed) == count for fit in fits)
            return calibration.offer(count) if known else None
        enough = [len(fit.computed) for fit in fits if fit.figure >= self.psnr]
        return calibration.offer(min(enough)) if enough else None

    def nearest(self, calibration: Calibration) -> Offer:
        """What came nearest to the plain run."""
        best = max(calibration.fits, key=lambda fit: fit.figure)
        return calibration.offer(len(best.computed))

    def next_count(self, fits: dict[int, Fit], total: int) -> int | None:
        """The number of computed steps to fit next; None where no other is worth it.

        Args:
            fits: fit of each number that was tried.
            total: number of steps of a trajectory.
        """
        if self.psnr is None or not fits:
            first = min(self.count(total), total - 1)
            return None if first in fits else first
        near = {count for count, fit in fits.items() if fit.figure >= self.psnr}
        least, most = min(near, default=None), max(fits.keys() - near, default=None)
        if least is None:
            assert most is not None
            following = min(math.ceil(most * STRIDE), total - 1)
        elif most is None:
            following = max(math.floor(least / STRIDE), 2)
        else:
            following = (least + most) // 2
        return None if following in fits else following
