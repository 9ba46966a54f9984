"""Offers: what a calibration has to choose from, and how far each figure can be trusted."""

from __future__ import annotations

import math
import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from statistics import stdev
from typing import Literal

from forecastcache.errors import ForecastCacheDeprecationWarning, ForecastCacheWarning

Loop = Literal["open", "simulated", "closed"]
FEWEST = 3  # gaps from which a band can be learned


@dataclass(frozen=True)
class Offer:
    """A schedule with its rows, and how near to the plain run they end.

    A figure stands in one of two fields: it was rolled, or it is foretold. Neither is there where
    every step is computed, which is exact.

    Attributes:
        computed: computed steps.
        loop: loop in which the rows were fitted; `exact` where no step is forecast.
        latent_psnr_db: PSNR of the final latents to the plain run's in dB, rolled in closed loop
            on prompts that the rows were not fitted to; None where it was not rolled.
        foretold_latent_psnr_db: the same PSNR as the Gram matrix foretells it, usually too good;
            None where it was rolled.
        band_db: least and greatest PSNR in dB that the foretold figure may come to, learned from
            the schedules of the same file that were both foretold and rolled; None where there
            are too few.
    """

    computed: tuple[int, ...]
    loop: Loop | Literal["exact"]
    latent_psnr_db: float | None = None
    foretold_latent_psnr_db: float | None = None
    band_db: tuple[float, float] | None = None

    @classmethod
    def exact(cls, steps: int) -> Offer:
        """The offer that computes all of so many steps."""
        return cls(tuple(range(steps)), "exact")

    def warn_if_foretold(self, count: int) -> None:
        """Warn the caller's caller that what was chosen for `count` steps is foretold."""
        if self.foretold_latent_psnr_db is not None:
            warnings.warn(
                f"no schedule of at most {count} computed steps was rolled: these rows of the "
                f"{self.loop} loop are foretold to end {self.foretold_latent_psnr_db:.1f} dB from "
                f"the plain run{self._ends()}; roll some by forecastcache calibrate --schedule "
                f"search:{count}",
                ForecastCacheWarning,
                stacklevel=4,
            )

    def _ends(self) -> str:
        return f" ({self.band_db[0]:.1f} to {self.band_db[1]:.1f})" if self.band_db else ""

    @property
    def psnr_db(self) -> float:
        """The rolled figure, else the foretold one; deprecated, since it hides which it is."""
        warnings.warn(
            "Offer.psnr_db is deprecated since 0.2: write latent_psnr_db (rolled) or "
            "foretold_latent_psnr_db",
            ForecastCacheDeprecationWarning,
            stacklevel=2,
        )
        figures = (self.latent_psnr_db, self.foretold_latent_psnr_db)
        return next((it for it in figures if it is not None), math.inf)


def band(foretold: float, gaps: Sequence[float]) -> tuple[float, float] | None:
    """The least and the greatest PSNR that a foretold one may come to, in dB.

    The greatest gap bounds it from above, since simulated rows end no nearer than rows fitted in
    closed loop at the same steps. By how much they end farther was not rolled, so the lower end
    lies a standard deviation of the gaps below the least of them.

    Args:
        foretold: foretold PSNR in dB.
        gaps: rolled PSNR less the foretold one, in dB, of each schedule that has both.

    Returns:
        The two ends; None if there are fewer gaps than three.
    """
    if len(gaps) < FEWEST:
        return None
    return foretold + min(gaps) - stdev(gaps), foretold + max(gaps)
