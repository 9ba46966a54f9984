"""forecastcache: forecast the features of a diffusion model instead of computing them all.

with attach(pipe, Every(5, first=3), Taylor(order=1)):
    image = pipe(...).images[0]
"""

from typing import TYPE_CHECKING, Any

from forecastcache import errors
from forecastcache.adapter import Adapter, Site, Trunk
from forecastcache.attachment import attach
from forecastcache.history import History
from forecastcache.predictor import LinearPredictor, Predictor
from forecastcache.predictors.bands import Bands
from forecastcache.predictors.bdf import BDF
from forecastcache.predictors.blend import Blend
from forecastcache.predictors.explanation import Explanation, explain
from forecastcache.predictors.exponential import Exponential
from forecastcache.predictors.hermite import Hermite
from forecastcache.predictors.learned import Learned
from forecastcache.predictors.newton import Newton
from forecastcache.predictors.reuse import Reuse
from forecastcache.predictors.taylor import Taylor
from forecastcache.registry import register_adapter, register_predictor, register_schedule
from forecastcache.report import Report
from forecastcache.schedule import Every, Listed, Schedule
from forecastcache.session import Session
from forecastcache.step import Step

if TYPE_CHECKING:
    from forecastcache.calibration.artifact import Calibration

__all__ = [
    "BDF",
    "Adapter",
    "Bands",
    "Blend",
    "Calibration",
    "Every",
    "Explanation",
    "Exponential",
    "Hermite",
    "History",
    "Learned",
    "LinearPredictor",
    "Listed",
    "Newton",
    "Predictor",
    "Report",
    "Reuse",
    "Schedule",
    "Session",
    "Site",
    "Step",
    "Taylor",
    "Trunk",
    "attach",
    "errors",
    "explain",
    "register_adapter",
    "register_predictor",
    "register_schedule",
]


def __getattr__(name: str) -> Any:
    if name == "Calibration":  # with what it needs, scipy above all, only where it is used
        from forecastcache.calibration.artifact import Calibration

        return Calibration
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
