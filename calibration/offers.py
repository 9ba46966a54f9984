"""Offers: what a calibration has to choose from, and how far each figure can be trusted."""

from __future__ import annotations

import math
import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from statistics import stdev
from typing import Literal

from forecastcache.calibration.fits import Fit
from forecastcache.errors import ForecastCacheDeprecationWarning, ForecastCacheWarning

Loop = Literal["open", "simulated", "closed"]
FEWEST = 3  # counts from which a band can be learned


@dataclass(frozen=True)
class Offer:
    """A schedule with its rows, and how near to the plain run they end.

    A figure stands in one of two fields: it was rolled, or it is foretold. Neither is there where
    every step is computed, which is exact.

    Attributes:
        computed: computed steps.
        loop: loop in which the rows were fitted; `exact` where no step is forecast.
        latent_psnr_db: PSNR of the final latents to the plain run's in dB, rolled in closed loop
            on samples that the rows were not fitted to; None where it was not rolled.
        foretold_latent_psnr_db: the same PSNR as it is simulated from the Gram matrix, mended by
            how far that was out where other counts were rolled as if they had not been; of rows
            that nothing but the single sample that they were fitted to could judge, the PSNR of
            that. None where it was rolled.
        band_db: least and greatest PSNR in dB that may come of it, learned by leaving out each
            count of the same file in turn; None where there are too few.
        interpolated: whether a lower and a higher count were rolled.
    """

    computed: tuple[int, ...]
    loop: Loop | Literal["exact"]
    latent_psnr_db: float | None = None
    foretold_latent_psnr_db: float | None = None
    band_db: tuple[float, float] | None = None
    interpolated: bool = False

    @classmethod
    def of(cls, fit: Fit) -> Offer:
        """The offer of a schedule that was rolled."""
        judged = fit.latent_psnr_db
        foretold = fit.fitted_latent_psnr_db if judged is None else None
        return cls(fit.computed, "closed", judged, foretold)

    @classmethod
    def exact(cls, steps: int) -> Offer:
        """The offer that computes all of so many steps."""
        return cls(tuple(range(steps)), "exact")

    def warn_if_foretold(self, count: int) -> None:
        """Warn the caller's caller that what was chosen for `count` steps is foretold."""
        if self.foretold_latent_psnr_db is not None:
            warnings.warn(
                f"no schedule of at most {count} computed steps was rolled on samples that it was "
                f"not fitted to: these rows of the {self.loop} loop are foretold to end "
                f"{self.foretold_latent_psnr_db:.1f} dB from the plain run{self._ends()}; roll "
                f"some by forecastcache calibrate --schedule search:{count} of 2 prompts or more",
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


def band(foretold: float, missed: Sequence[float]) -> tuple[float, float] | None:
    """The least and the greatest PSNR that a foretold one may come to, in dB.

    Args:
        foretold: foretold PSNR in dB.
        missed: what was rolled less what was foretold of it, in dB, of each count left out.

    Returns:
        The two ends, as far out as any of them and two standard deviations farther, since other
        prompts than those calibrated come out otherwise too; None if there are fewer than three.
    """
    if len(missed) < FEWEST:
        return None
    spread = 2 * stdev(missed)
    return foretold + min(*missed, 0.0) - spread, foretold + max(*missed, 0.0) + spread
