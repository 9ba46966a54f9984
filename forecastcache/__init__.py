"""forecastcache: forecast the features of a diffusion model instead of computing them all.

with attach(pipe, Every(5, first=3), Taylor(order=1)):
    image = pipe(...).images[0]
"""

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

__all__ = [
    "BDF",
    "Adapter",
    "Bands",
    "Blend",
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
