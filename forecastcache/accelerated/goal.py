"""Goal: how fast, or how near to the plain run, sampling is to be."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal

from forecastcache.calibration.calibration import Calibration
from forecastcache.calibration.fits import Fit
from forecastcache.errors import OptionError

Quality = Literal["near-lossless", "balanced", "fast"]
QUALITIES: dict[str, float] = {"near-lossless": 45.0, "balanced": 38.0, "fast": 30.0}
USUAL = 5.0  # times fewer computed steps, where nothing is asked
STRIDE = 1.3  # from one count of computed steps to the next, in search of a nearness


@dataclass(frozen=True)
class Goal:
    """What is asked of accelerated sampling: one of three.

    Attributes:
        speedup: times fewer computed steps; None if something else is asked.
        computed: number of computed steps; None if something else is asked.
        psnr: latent PSNR to the plain run in dB, at least; None if something else is asked.
    """

    speedup: float | None = None
    computed: int | None = None
    psnr: float | None = None

    @classmethod
    def of(
        cls,
        speedup: float | None = None,
        computed: int | None = None,
        psnr: float | None = None,
        quality: Quality | None = None,
    ) -> Goal:
        """The goal that one of four options says; five times fewer steps where none does.

        Raises:
            OptionError: several do, or one is out of range.
        """
        options = {"speedup": speedup, "computed": computed, "psnr": psnr, "quality": quality}
        asked = [name for name, value in options.items() if value is not None]
        if len(asked) > 1:
            raise OptionError(f"{' and '.join(asked)} each choose by themselves: give one")
        if quality is not None:
            if quality not in QUALITIES:
                raise OptionError(f"quality={quality!r} is none of {', '.join(QUALITIES)}")
            return cls(psnr=QUALITIES[quality])
        if speedup is not None and not 1 <= speedup < math.inf:
            raise OptionError(f"speedup={speedup:g} is no number of at least 1: ask for 1 or more")
        if computed is not None and not (type(computed) is int and computed >= 1):
            raise OptionError(f"computed={computed!r} is no whole number of at least 1")
        if psnr is not None and not 0 < psnr < math.inf:
            raise OptionError(f"psnr={psnr:g} is no number of dB above 0")
        return cls(speedup if asked else USUAL, computed, psnr)

    def __str__(self) -> str:
        if self.psnr is not None:
            return f"latent PSNR of {self.psnr:g} dB"
        if self.computed is not None:
            return f"{self.computed} computed steps"
        return f"speedup {self.speedup:g}"

    def count(self, total: int) -> int:
        """The number of steps to compute of so many; where a nearness is asked, the first to try.

        Raises:
            OptionError: it is above what there are.
        """
        if self.computed is not None:
            if self.computed > total:
                raise OptionError(f"computed={self.computed} is above {total}, the run's steps")
            return self.computed
        speedup = USUAL if self.speedup is None else self.speedup
        if speedup > total:
            raise OptionError(
                f"speedup={speedup:g} is above {total}, the number of the run's steps"
            )
        return math.floor(total / speedup)

    def chosen(self, calibration: Calibration) -> int | None:
        """The number of steps to ask a calibration for; None where it was not rolled there."""
        total = calibration.identity.steps
        if self.psnr is None:
            count = self.count(total)
            known = any(len(fit.computed) == count for fit in calibration.fits)
            return count if known or count == total else None
        enough = [len(fit.computed) for fit in calibration.fits if fit.figure >= self.psnr]
        return min(enough, default=None)

    def nearest(self, calibration: Calibration) -> int:
        """The number of computed steps that came nearest to the plain run."""
        best = max(calibration.fits, key=lambda fit: fit.figure)
        return len(best.computed)

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
