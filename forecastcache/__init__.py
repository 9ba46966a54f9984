"""forecastcache: forecast the features of a diffusion model instead of computing them all.

with attach(pipe, Every(5, first=3), Taylor(order=1)):
    image = pipe(...).images[0]
"""

from forecastcache import errors
from forecastcache.adapter import Adapter, Site, Trunk
from forecastcache.attachment import attach
from forecastcache.history import History
from forecastcache.predictor import LinearPredictor, Predictor
from forecastcache.predictors.reuse import Reuse
from forecastcache.predictors.taylor import Taylor
from forecastcache.registry import register_adapter, register_predictor, register_schedule
from forecastcache.report import Report
from forecastcache.schedule import Every, Listed, Schedule
from forecastcache.session import Session
from forecastcache.step import Step

__all__ = [
    "Adapter",
    "Every",
    "History",
    "LinearPredictor",
    "Listed",
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
    "register_adapter",
    "register_predictor",
    "register_schedule",
]
