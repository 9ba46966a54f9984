"""Chosen metrics: those of every row, and those that were asked for beside them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from forecastcache.errors import OptionError
from forecastcache.metrics.lpips import LPIPS, NEEDS, PARTS, downloaded
from forecastcache.metrics.metric import Compared, Metric, figure_of, metrics_of

# Field of a `Measurement` that the figure of a metric has; the others are in its `metrics`.
FIELDS = {"latent-psnr": "latent_psnr_db", "psnr": "psnr_db", "ssim": "ssim", "lpips": "lpips"}
ALWAYS = ("latent-psnr", "psnr", "ssim")
NO_LPIPS = (
    f"{PARTS}: evaluate --metrics lpips downloads it once, --metrics lpips=FOLDER takes it from a "
    f"folder with {NEEDS}"
)


class ChosenMetrics:
    """The metrics of an evaluation.

    LPIPS is among them where its weights are on this machine already.

    Args:
        asked: further metrics by name.
    """

    def __init__(self, asked: Mapping[str, Metric] = {}) -> None:  # only read
        self._asked = {**metrics_of(ALWAYS), **asked}
        self._lpips = LPIPS() if "lpips" not in asked and downloaded() else None
        self._missing = None if "lpips" in asked or self._lpips else NO_LPIPS

    def prepare(self, prompts: Sequence[str]) -> None:
        """Load what they need, before anything is sampled.

        Raises:
            ForecastCacheError: one that was asked for lacks something.
        """
        for metric in self._asked.values():
            metric.prepare(prompts)

    def figures(self, compared: Compared) -> dict[str, Any]:
        """The fields of a `Measurement`.

        Raises:
            ForecastCacheError: a metric failed; it is named.
        """
        found = {name: figure_of(name, it, compared) for name, it in self._asked.items()}
        if self._lpips is not None:
            found["lpips"] = self._usual_lpips(self._lpips, compared)
        return {
            **{FIELDS[name]: value for name, value in found.items() if name in FIELDS},
            "metrics": {name: value for name, value in found.items() if name not in FIELDS},
            "lpips_missing": self._missing,
        }

    def _usual_lpips(self, metric: LPIPS, compared: Compared) -> float | None:
        """LPIPS that nobody asked for: where it cannot be, a line says why."""
        try:
            return figure_of("lpips", metric, compared)
        except OptionError as error:
            self._missing = str(error)
            return None
